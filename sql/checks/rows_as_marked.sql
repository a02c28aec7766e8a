-- Buckets whose rows are not as many as their marker says: no row is the right answer.
-- Usage: psql -f; no parameters.
SELECT loads.bucket_date, loads.measurements, count(metrics.id) AS rows
FROM loads LEFT JOIN metrics USING (bucket_date)
GROUP BY loads.bucket_date, loads.measurements
HAVING count(metrics.id) <> loads.measurements;
