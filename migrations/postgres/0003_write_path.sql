-- Every random place in an index that a booking touches is a page to write. What webhooks know a
-- prospect by needs one only where a person has changed the address.
DROP INDEX prospect_fold;
CREATE UNIQUE INDEX prospect_fold ON prospect (fold_email_key, COALESCE(fold_owner_id, ''))
    WHERE fold_email_key <> email_key;

-- Nothing asks for events by their time: they are kept in the order of their positions.
DROP INDEX event_at;
