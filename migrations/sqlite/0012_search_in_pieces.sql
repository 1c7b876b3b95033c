-- The search index is merged in pieces, by steps of its job, instead of as it is written: one merge
-- in five or so went down to the deeper levels, and everybody who writes waited 20 to 40 ms for it.
-- Eight parts are merged into one; with four, each row would be written once more. Whoever deletes
-- prospects writes parts as well, and is not to merge them for want of a step: only beyond 64.
INSERT INTO prospect_search (prospect_search, rank)
VALUES ('automerge', 0), ('usermerge', 8), ('crisismerge', 64);
