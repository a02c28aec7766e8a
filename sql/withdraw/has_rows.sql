-- Whether the table holds rows of a bucket, marked as loaded or not. Parameters: bucket_date.
-- Usage: python -m tasks.withdraw: rows outlive their marker when a load is forgotten.
SELECT EXISTS (SELECT FROM metrics WHERE bucket_date = %(bucket_date)s);
