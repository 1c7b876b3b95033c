-- By name too a list of prospects is merged from runs, those of each owner: one index had the names
-- of all, and a page of one owner's looked through those of everybody else.
DROP INDEX prospect_name;
CREATE INDEX prospect_owner_run_name ON prospect (owner_run, name_key, id);
