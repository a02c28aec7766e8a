-- What the database holds, bucket by bucket. Parameters: first, last (dates). Usage: tasks.ledger.
SELECT
    loads.bucket_date,
    loads.reports,
    loads.measurements,
    (SELECT count(*) FROM metrics WHERE metrics.bucket_date = loads.bucket_date) AS rows,
    EXISTS (
        SELECT FROM views_contain AS v WHERE v.bucket_date = loads.bucket_date AND v.load_id = loads.load_id
    ) AS in_views,
    coalesce((loads.notes ->> 'refused')::bigint, 0) AS refused,
    loads.fingerprints
FROM loads
WHERE loads.bucket_date BETWEEN %(first)s AND %(last)s
ORDER BY loads.bucket_date;
