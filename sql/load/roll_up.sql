-- The small tables of one bucket, from its rows and what matched. Parameters: bucket_date, fingerprints.
-- Usage: after the last row, before the marker; and when a bucket is matched again. Keys are compared as arrays,
-- to which null is like null.
ANALYZE matched;
WITH met AS MATERIALIZED (
    SELECT
        m.id, matched.kind, matched.name,
        m.input, m.report_id, m.test_start_time, m.probe_cc, m.probe_asn,
        CASE
            WHEN matched.kind = 'vendor'
                THEN ARRAY[m.test_name, m.report_id, m.test_start_time::text, m.probe_cc, m.probe_asn]
            WHEN m.input IS NOT NULL THEN ARRAY[m.input, m.probe_cc, m.probe_asn]
        END AS key
    FROM matched
    JOIN metrics AS m ON m.id = matched.measurement_id AND m.bucket_date = %(bucket_date)s
),
tested AS (
    SELECT ARRAY[input, probe_cc, probe_asn] AS key, count(*) AS tested_count
    FROM metrics
    WHERE bucket_date = %(bucket_date)s
      AND test_name IN ('http_requests', 'web_connectivity')
      AND ARRAY[input, probe_cc, probe_asn] IN (SELECT key FROM met WHERE kind <> 'vendor')
    GROUP BY input, probe_cc, probe_asn
    UNION ALL
    SELECT ARRAY[test_name, report_id, test_start_time::text, probe_cc, probe_asn], count(*)
    FROM metrics
    WHERE bucket_date = %(bucket_date)s
      AND ARRAY[test_name, report_id, test_start_time::text, probe_cc, probe_asn]
          IN (SELECT key FROM met WHERE kind = 'vendor')
    GROUP BY test_name, report_id, test_start_time, probe_cc, probe_asn
)
INSERT INTO fingerprint_matches (
    bucket_date, measurement_id, kind, name, fingerprints,
    input, report_id, test_start_time, probe_cc, probe_asn, tested_count
)
SELECT
    %(bucket_date)s, met.id, met.kind, met.name, %(fingerprints)s,
    met.input, met.report_id, met.test_start_time, met.probe_cc, met.probe_asn, tested.tested_count
FROM met LEFT JOIN tested USING (key);

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
