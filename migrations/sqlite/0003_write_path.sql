-- Every random place in an index that a booking touches is a page to write. What webhooks know a
-- prospect by needs one only where a person has changed the address.
DROP INDEX prospect_fold;
CREATE UNIQUE INDEX prospect_fold ON prospect (fold_email_key, COALESCE(fold_owner_id, ''))
    WHERE fold_email_key <> email_key;

-- Nothing asks for events by their time: they are kept in the order of their positions.
DROP INDEX event_at;

-- An INTEGER PRIMARY KEY is the table's own order here; any other is one more index.
ALTER TABLE event RENAME TO event_before;
DROP INDEX event_user;
CREATE TABLE event (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    user_id TEXT,
    admins BOOLEAN NOT NULL
);
INSERT INTO event (seq, id, at_ms, name, payload, user_id, admins)
    SELECT seq, id, at_ms, name, payload, user_id, admins FROM event_before ORDER BY seq;
DROP TABLE event_before;
CREATE INDEX event_user ON event (user_id, seq);
