-- Lists of prospects by a few indexes. The prospects of one status and source are a run, among all
-- and of each owner; an index has each run in order, and a list is merged from its runs.
DROP INDEX prospect_created;
DROP INDEX prospect_updated;
DROP INDEX prospect_owner_created;
DROP INDEX prospect_nobody_created;
DROP INDEX prospect_status;
DROP INDEX prospect_owner_status;
DROP INDEX prospect_status_updated;
DROP INDEX prospect_owner_status_updated;
DROP INDEX prospect_source;
DROP INDEX prospect_owner_source;
DROP INDEX prospect_source_updated;
DROP INDEX prospect_owner_source_updated;

ALTER TABLE prospect
    ADD COLUMN run TEXT NOT NULL DEFAULT '',
    ADD COLUMN owner_run TEXT NOT NULL DEFAULT '';
-- Writes the table anew once, where an UPDATE would leave it with as many dead rows.
ALTER TABLE prospect
    ALTER COLUMN run DROP DEFAULT,
    ALTER COLUMN owner_run DROP DEFAULT,
    ALTER COLUMN run TYPE TEXT USING status || '/' || source,
    ALTER COLUMN owner_run TYPE TEXT
        USING COALESCE(owner_id, '') || '/' || status || '/' || source;
CREATE INDEX prospect_run_created ON prospect (run, created_ms, id);
CREATE INDEX prospect_run_updated ON prospect (run, updated_ms, id);
CREATE INDEX prospect_owner_run_created ON prospect (owner_run, created_ms, id);
CREATE INDEX prospect_owner_run_updated ON prospect (owner_run, updated_ms, id);
