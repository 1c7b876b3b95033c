-- How often prospects, proposals and what they depend on have been changed: as on Postgres since the
-- fifth version. Batches of deliveries are now read and folded while the one before is written.
ALTER TABLE event_log ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
