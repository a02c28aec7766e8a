-- The marker of a bucket: its load_id, or no row. Parameters: bucket_date. Usage: is it loaded?
SELECT load_id FROM loads WHERE bucket_date = %(bucket_date)s;
