-- The marker of a bucket: its load_id and the version of the fingerprint table, or no row. Parameters:
-- bucket_date. Usage: is it loaded?
SELECT load_id, fingerprints FROM loads WHERE bucket_date = %(bucket_date)s;
