-- The proof, with the number of rows that are really there. Parameters: bucket_date, reports, fingerprints,
-- notes (JSON). Usage: the last statement of a load; returns load_id and measurements.
INSERT INTO loads (bucket_date, reports, measurements, fingerprints, notes)
SELECT %(bucket_date)s, %(reports)s, coalesce(sum(measurements), 0), %(fingerprints)s, %(notes)s
FROM country_totals WHERE bucket_date = %(bucket_date)s
RETURNING load_id, measurements;
