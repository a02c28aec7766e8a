-- Everything that belongs to one bucket goes; its marker too. Parameters: bucket_date.
-- Usage: in the transaction that loads the bucket again.
DELETE FROM metrics WHERE bucket_date = %(bucket_date)s;
DELETE FROM fingerprint_matches WHERE bucket_date = %(bucket_date)s;
DELETE FROM report_totals WHERE bucket_date = %(bucket_date)s;
DELETE FROM country_totals WHERE bucket_date = %(bucket_date)s;
DELETE FROM loads WHERE bucket_date = %(bucket_date)s;
