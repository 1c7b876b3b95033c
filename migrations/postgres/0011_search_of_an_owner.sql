-- What the search index is made of, now with the owner: a search of one owner's prospects need not
-- look through what all the others have. Made anew, because to change a million rows takes longer
-- than to write them. The index itself is made at the start (store/dialect.rs).
DROP TABLE prospect_search;
CREATE TABLE prospect_search (
    prospect_id TEXT NOT NULL,
    text TEXT NOT NULL,
    owner_id TEXT NOT NULL
);
INSERT INTO prospect_search (prospect_id, text, owner_id)
SELECT id, search_text, COALESCE(owner_id, '') FROM prospect;
ALTER TABLE prospect_search ADD PRIMARY KEY (prospect_id);
