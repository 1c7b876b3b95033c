-- How often prospects, proposals and what they depend on have been changed. Who has read them without
-- keeping others from it sees there, when it writes, whether somebody came between.
ALTER TABLE event_log ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;

-- Each check of a foreign key is a query for each row, and a lock on the row it points to. Users are
-- deleted, and prospects and proposals made and moved, in turns that exclude each other.
ALTER TABLE prospect DROP CONSTRAINT prospect_owner_id_fkey;
ALTER TABLE proposal DROP CONSTRAINT proposal_owner_id_fkey;
ALTER TABLE proposal DROP CONSTRAINT proposal_prospect_id_fkey;

-- A body of some kilobytes stays in its row as it is: to compress it and to put it into another
-- table took as long as all the rest of its row.
ALTER TABLE delivery SET (toast_tuple_target = 8160);
