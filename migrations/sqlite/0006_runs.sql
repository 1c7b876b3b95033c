-- Lists of prospects by a few indexes. The prospects of one status and source are a run, among all
-- and of each owner; an index has each run in order, and a list is merged from its runs.

-- The key to a user goes, as it has on Postgres: to check it, each user that is deleted would need
-- an index of owners besides. Who deletes a user hands its prospects over in the same turn. The
-- proposals that refer to the table are checked at the end of the transaction.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE old_prospect AS SELECT * FROM prospect;
DROP TABLE prospect;
CREATE TABLE prospect (
    n INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner_id TEXT,
    conversation_id TEXT NOT NULL,
    firstname TEXT,
    lastname TEXT,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    phone TEXT,
    company TEXT,
    status TEXT NOT NULL,
    source TEXT NOT NULL,
    run TEXT NOT NULL,
    owner_run TEXT NOT NULL,
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
    n, id, owner_id, conversation_id, firstname, lastname, email, email_key, phone, company,
    status, source, run, owner_run, notes, timezone, tracking, last_booking_ms, edited, profile,
    fold_owner_id, fold_email_key, form_only, name_key, search_text, created_ms, updated_ms,
    version
)
SELECT
    n, id, owner_id, conversation_id, firstname, lastname, email, email_key, phone, company,
    status, source, status || '/' || source,
    COALESCE(owner_id, '') || '/' || status || '/' || source,
    notes, timezone, tracking, last_booking_ms, edited, profile,
    fold_owner_id, fold_email_key, form_only, name_key, search_text, created_ms, updated_ms,
    version
FROM old_prospect ORDER BY n;
DROP TABLE old_prospect;

CREATE UNIQUE INDEX prospect_email_owner ON prospect (email_key, COALESCE(owner_id, ''));
CREATE UNIQUE INDEX prospect_fold ON prospect (fold_email_key, COALESCE(fold_owner_id, ''))
    WHERE fold_email_key <> email_key;
CREATE INDEX prospect_run_created ON prospect (run, created_ms, id);
CREATE INDEX prospect_run_updated ON prospect (run, updated_ms, id);
CREATE INDEX prospect_owner_run_created ON prospect (owner_run, created_ms, id);
CREATE INDEX prospect_owner_run_updated ON prospect (owner_run, updated_ms, id);
CREATE INDEX prospect_name ON prospect (name_key, id);
