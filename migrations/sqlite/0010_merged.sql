-- Records that turned out to be one with another, and which that is. Deliveries keep the name of the
-- one they made, by which a rebuild knows it again, and are read with the name of the one that
-- stayed: an index of deliveries by record, to rename them, would cost every booking.
CREATE TABLE merged (
    id TEXT NOT NULL PRIMARY KEY,
    into_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX merged_into ON merged (into_id);
