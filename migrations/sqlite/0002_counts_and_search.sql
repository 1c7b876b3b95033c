-- Counts that are kept, indexes for every order of a list, and the search index.

-- The search index refers to prospects by number. A number that the table itself keeps stays
-- when the file is compacted or copied, as SQLite's own row numbers do not, so the table is made
-- anew with one. The proposals that refer to it are checked at the end of the transaction.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE old_prospect AS SELECT * FROM prospect;
DROP TABLE prospect;
CREATE TABLE prospect (
    n INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner_id TEXT REFERENCES app_user (id),
    conversation_id TEXT NOT NULL,
    firstname TEXT,
    lastname TEXT,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    phone TEXT,
    company TEXT,
    status TEXT NOT NULL,
    source TEXT NOT NULL,
    notes TEXT,
    timezone TEXT,
    tracking TEXT NOT NULL,
    last_booking_ms BIGINT,
    edited TEXT NOT NULL,
    profile TEXT NOT NULL,
    fold_owner_id TEXT,
    fold_email_key TEXT,
    form_only BOOLEAN NOT NULL,
    name_key TEXT NOT NULL,
    search_text TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);
INSERT INTO prospect (
    id, owner_id, conversation_id, firstname, lastname, email, email_key, phone, company,
    status, source, notes, timezone, tracking, last_booking_ms, edited, profile,
    fold_owner_id, fold_email_key, form_only, name_key, search_text, created_ms, updated_ms,
    version
)
SELECT
    id, owner_id, conversation_id, firstname, lastname, email, email_key, phone, company,
    status, source, notes, timezone, tracking, last_booking_ms, edited, profile,
    fold_owner_id, fold_email_key, form_only, name_key, search_text, created_ms, updated_ms,
    version
FROM old_prospect ORDER BY created_ms, id;
DROP TABLE old_prospect;

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
) WITHOUT ROWID;
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

-- The trigrams of each prospect's text, by its number. It keeps no text and no places: what it
-- finds is compared with the prospect itself.
CREATE VIRTUAL TABLE prospect_search USING fts5 (
    text, content = '', contentless_delete = 1, detail = none,
    tokenize = 'trigram case_sensitive 1'
);
