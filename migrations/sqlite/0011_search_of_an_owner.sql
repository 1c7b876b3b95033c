-- The search index without what FTS5 keeps to take a row out of it again by its number alone: it
-- looked up each row that it came to among those that were replaced, and these stand close
-- together. At a million prospects that was four fifths of a search, and half a second for a step
-- of the job that follows five hundred changed prospects. What is replaced now stays beside the
-- new; whatever is found is compared with the prospect anyway.
-- It is filled anew, now with a mark of each prospect's owner, and until then a search compares
-- each prospect.
DROP TABLE prospect_search;
CREATE VIRTUAL TABLE prospect_search USING fts5 (
    text, content = '', columnsize = 0, detail = none,
    tokenize = 'trigram case_sensitive 1'
);
UPDATE search_index SET filled_id = '' WHERE id = 1;
