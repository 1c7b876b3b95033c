-- Counts that are kept, indexes for every order of a list, and the search index.

DROP INDEX prospect_owner_email;
DROP INDEX prospect_email;
DROP INDEX prospect_fold;
DROP INDEX prospect_fold_email;
DROP INDEX prospect_created;
DROP INDEX prospect_owner_created;

-- By address first: the same index finds a person whoever owns the record, and each one that
-- begins at a random place is dear at a million rows.
CREATE UNIQUE INDEX prospect_email_owner ON prospect (email_key, COALESCE(owner_id, ''));
CREATE UNIQUE INDEX prospect_fold ON prospect (fold_email_key, COALESCE(fold_owner_id, ''));
-- One for each order of all records, and for the usual one of an owner's: each costs every
-- booking a page or more to write. Nobody counts as one owner; only the first is by the bare
-- column, which the foreign key needs.
CREATE INDEX prospect_created ON prospect (created_ms, id);
CREATE INDEX prospect_updated ON prospect (updated_ms, id);
CREATE INDEX prospect_name ON prospect (name_key, id);
CREATE INDEX prospect_owner_created ON prospect (owner_id, created_ms, id);
CREATE INDEX prospect_nobody_created ON prospect (created_ms, id) WHERE owner_id IS NULL;
CREATE INDEX prospect_status ON prospect (status, created_ms, id);
CREATE INDEX prospect_owner_status
    ON prospect (COALESCE(owner_id, ''), status, created_ms, id);
-- What webhooks make is new and from Calendly, and costs nothing here.
CREATE INDEX prospect_status_updated ON prospect (status, updated_ms, id)
    WHERE status <> 'new';
CREATE INDEX prospect_owner_status_updated
    ON prospect (COALESCE(owner_id, ''), status, updated_ms, id) WHERE status <> 'new';
CREATE INDEX prospect_source ON prospect (source, created_ms, id)
    WHERE source <> 'calendly';
CREATE INDEX prospect_owner_source
    ON prospect (COALESCE(owner_id, ''), source, created_ms, id) WHERE source <> 'calendly';
CREATE INDEX prospect_source_updated ON prospect (source, updated_ms, id)
    WHERE source <> 'calendly';
CREATE INDEX prospect_owner_source_updated
    ON prospect (COALESCE(owner_id, ''), source, updated_ms, id) WHERE source <> 'calendly';

-- How many records there are of each kind, kept in the transaction that changes them, so that
-- nobody has to count millions. `owner_key` is an owner, '' for nobody, '*' for all together;
-- `kind` is a prospect's source or a delivery's event.
CREATE TABLE record_count (
    record TEXT NOT NULL,
    owner_key TEXT NOT NULL,
    status TEXT NOT NULL,
    kind TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (record, owner_key, status, kind)
);
INSERT INTO record_count (record, owner_key, status, kind, n)
SELECT 'prospect', COALESCE(owner_id, ''), status, source, COUNT(*) FROM prospect
GROUP BY COALESCE(owner_id, ''), status, source;
INSERT INTO record_count (record, owner_key, status, kind, n)
SELECT 'proposal', COALESCE(owner_id, ''), status, '', COUNT(*) FROM proposal
GROUP BY COALESCE(owner_id, ''), status;
INSERT INTO record_count (record, owner_key, status, kind, n)
SELECT 'delivery', '*', status, COALESCE(event, ''), COUNT(*) FROM delivery
GROUP BY status, COALESCE(event, '');
INSERT INTO record_count (record, owner_key, status, kind, n)
SELECT record, '*', status, kind, SUM(n) FROM record_count WHERE record <> 'delivery'
GROUP BY record, status, kind;

-- How far the search index follows the event log, and the first filling has come: up to the
-- prospect `filled_id`, or to the end when it is NULL.
CREATE TABLE search_index (
    id BIGINT NOT NULL PRIMARY KEY,
    indexed_seq BIGINT NOT NULL,
    filled_id TEXT
);
INSERT INTO search_index (id, indexed_seq, filled_id)
SELECT 1, head_seq, '' FROM event_log WHERE id = 1;

-- A copy of each prospect's text, so that the dear index of its trigrams is kept by a job and
-- not by whoever writes prospects. The index is made at the start, where pg_trgm may be used.
CREATE TABLE prospect_search (
    prospect_id TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL
);
