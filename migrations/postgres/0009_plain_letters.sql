-- Search compares plain letters: those that Unicode does not take apart, such as ø and ß, were stored
-- as they are. What is stored is in lower case and without marks; the rest is that of `PLAIN` in
-- src/domain/text.rs. Where nobody has such a letter, nothing is to be done.

-- The index is filled anew, by its job: until then a search compares each prospect.
UPDATE search_index SET filled_id = '' WHERE id = 1
    AND EXISTS (SELECT 1 FROM prospect WHERE search_text ~ '[ßæœøđðħıłŋŧþəɓɖɗɛɔƙɲƴς]');
-- The log's mention of those who are gone may be passed over by that.
DELETE FROM prospect_search
    WHERE NOT EXISTS (SELECT 1 FROM prospect WHERE prospect.id = prospect_search.prospect_id);

UPDATE prospect SET
    search_text = replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
        replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
        replace(replace(search_text,
          'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'ø', 'o'),
          'đ', 'd'), 'ð', 'd'), 'ħ', 'h'), 'ı', 'i'),
          'ł', 'l'), 'ŋ', 'n'), 'ŧ', 't'), 'þ', 'th'),
          'ə', 'e'), 'ɓ', 'b'), 'ɖ', 'd'), 'ɗ', 'd'),
          'ɛ', 'e'), 'ɔ', 'o'), 'ƙ', 'k'), 'ɲ', 'n'),
          'ƴ', 'y'), 'ς', 'σ'),
    -- Cut as the program cuts it: some letters have become two.
    name_key = substr(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
        replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
        replace(replace(name_key,
          'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'ø', 'o'),
          'đ', 'd'), 'ð', 'd'), 'ħ', 'h'), 'ı', 'i'),
          'ł', 'l'), 'ŋ', 'n'), 'ŧ', 't'), 'þ', 'th'),
          'ə', 'e'), 'ɓ', 'b'), 'ɖ', 'd'), 'ɗ', 'd'),
          'ɛ', 'e'), 'ɔ', 'o'), 'ƙ', 'k'), 'ɲ', 'n'),
          'ƴ', 'y'), 'ς', 'σ'), 1, 200)
WHERE search_text ~ '[ßæœøđðħıłŋŧþəɓɖɗɛɔƙɲƴς]';
