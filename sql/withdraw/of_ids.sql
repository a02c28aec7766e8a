-- Where measurements with these ids stand: bucket_date, report_filename, id. Parameters: ids (a comma-separated
-- list of UUIDs). Usage: python -m tasks.withdraw, which looks for copies in other buckets.
SELECT bucket_date, report_filename, id::text
FROM metrics
WHERE id = ANY (string_to_array(%(ids)s, ',')::uuid[])
ORDER BY 1, 2, 3;
