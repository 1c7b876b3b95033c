-- Nothing: Postgres counts turns since the fifth version.
SELECT 1;
