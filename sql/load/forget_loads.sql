-- The buckets are to be loaded again; readers see their rows until then. Parameters: first, last (dates).
-- Usage: python -m tasks.forget.
DELETE FROM loads WHERE bucket_date BETWEEN %(first)s AND %(last)s;
