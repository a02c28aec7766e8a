-- Ids that stand in more than one bucket, with how many: re-submissions, and nothing else, give these.
-- Usage: psql -f; no parameters. A row whose report_filenames name the same report twice is a fault.
SELECT id, count(*) AS buckets, array_agg(report_filename ORDER BY bucket_date) AS report_filenames
FROM metrics
GROUP BY id
HAVING count(*) > 1;
