-- What would come and go if what is in "matched" took the place of the bucket's matches: kind, name, matches
-- that come, that go. Parameters: bucket_date. Usage: python -m tasks.refingerprint --dry-run.
SELECT
    kind, name,
    count(*) FILTER (WHERE old.measurement_id IS NULL) AS come,
    count(*) FILTER (WHERE new.measurement_id IS NULL) AS go
FROM matched AS new
FULL JOIN (
    SELECT measurement_id, kind, name FROM fingerprint_matches WHERE bucket_date = %(bucket_date)s
) AS old USING (measurement_id, kind, name)
WHERE old.measurement_id IS NULL OR new.measurement_id IS NULL
GROUP BY kind, name
ORDER BY kind, name;
