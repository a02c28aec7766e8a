-- The matches of one bucket go, and the small tables. Parameters: bucket_date.
-- Usage: in the transaction that matches the bucket again.
DELETE FROM fingerprint_matches WHERE bucket_date = %(bucket_date)s;
DELETE FROM report_totals WHERE bucket_date = %(bucket_date)s;
DELETE FROM country_totals WHERE bucket_date = %(bucket_date)s;
