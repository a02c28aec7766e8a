-- What matched while the rows were copied, until the transaction ends. No parameters.
-- Usage: before the first row of a bucket.
CREATE TEMPORARY TABLE matched (measurement_id uuid, kind text, name text) ON COMMIT DROP;
