-- The small tables of one bucket, from its rows and what matched. Parameters: bucket_date, fingerprints.
-- Usage: after the last row, before the marker.
ANALYZE matched;
INSERT INTO fingerprint_matches
SELECT
    m.bucket_date, m.id, matched.kind, matched.name, %(fingerprints)s,
    m.input, m.report_id, m.test_start_time, m.probe_cc, m.probe_asn
FROM matched
JOIN metrics AS m ON m.id = matched.measurement_id AND m.bucket_date = %(bucket_date)s;

INSERT INTO report_totals
SELECT
    m.bucket_date, m.report_id, m.test_start_time, m.probe_cc, m.probe_asn,
    count(b.measurement_id), count(*)
FROM metrics AS m
LEFT JOIN (SELECT DISTINCT measurement_id FROM matched WHERE kind = 'blockpage') AS b ON b.measurement_id = m.id
WHERE m.bucket_date = %(bucket_date)s
  AND m.test_name IN ('http_requests', 'web_connectivity')
  AND m.input IS NOT NULL
GROUP BY m.bucket_date, m.report_id, m.test_start_time, m.probe_cc, m.probe_asn;

INSERT INTO country_totals
SELECT bucket_date, probe_cc, count(*) FROM metrics WHERE bucket_date = %(bucket_date)s
GROUP BY bucket_date, probe_cc;
