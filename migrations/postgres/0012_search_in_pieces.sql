-- Nothing: Postgres merges what its index gathers by itself, and nobody waits for it.
SELECT 1;
