-- Every random place in an index that a booking touches is a page to write. Addresses had four
-- indexes; one by address serves both the look-up and the rule of one address for each owner,
-- and what webhooks know a prospect by needs one only where a person has changed the address.
DROP INDEX prospect_owner_email;
DROP INDEX prospect_email;
DROP INDEX prospect_fold;
DROP INDEX prospect_fold_email;
-- Nobody counts as one owner, so that a second unassigned prospect conflicts too.
CREATE UNIQUE INDEX prospect_email ON prospect (email_key, COALESCE(owner_id, ''));
CREATE UNIQUE INDEX prospect_fold_email ON prospect (fold_email_key, COALESCE(fold_owner_id, ''))
    WHERE fold_email_key <> email_key;

-- Nothing asks for events by their time: they are kept in the order of their positions.
DROP INDEX event_at;
