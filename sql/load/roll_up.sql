-- The small tables of one bucket, from its rows and what matched. Parameters: bucket_date, fingerprints.
-- Usage: after the last row, before the marker; and when a bucket is matched again.
--
-- The rows are new to this transaction, so the planner takes them for few and would join them in nested loops:
-- hours for a bucket of a million. To a join by hash null is like nothing, hence coalesce beside the comparison.
SET LOCAL enable_nestloop = off;
ANALYZE matched;
CREATE TEMPORARY TABLE met ON COMMIT DROP AS
SELECT
    matched.kind, matched.name, m.id, m.input, m.report_id, m.test_start_time, m.probe_cc, m.probe_asn, m.test_name,
    m.report_filename
FROM matched
JOIN metrics AS m ON m.id = matched.measurement_id AND m.bucket_date = %(bucket_date)s;
ANALYZE met;

WITH tested_inputs AS (
    SELECT input, probe_cc, probe_asn, count(*) AS tested_count
    FROM metrics
    WHERE bucket_date = %(bucket_date)s
      AND test_name IN ('http_requests', 'web_connectivity')
      AND input IN (SELECT input FROM met WHERE kind <> 'vendor')
    GROUP BY input, probe_cc, probe_asn
),
tested_reports AS (
    SELECT report_id, test_start_time, probe_cc, probe_asn, test_name, count(*) AS tested_count
    FROM metrics
    WHERE bucket_date = %(bucket_date)s
      AND test_name = ANY (ARRAY(SELECT DISTINCT test_name FROM met WHERE kind = 'vendor'))
    GROUP BY report_id, test_start_time, probe_cc, probe_asn, test_name
)
INSERT INTO fingerprint_matches (
    bucket_date, measurement_id, kind, name, fingerprints,
    input, report_id, test_start_time, probe_cc, probe_asn, tested_count, report_filename
)
SELECT
    %(bucket_date)s, met.id, met.kind, met.name, %(fingerprints)s,
    met.input, met.report_id, met.test_start_time, met.probe_cc, met.probe_asn,
    coalesce(i.tested_count, r.tested_count), met.report_filename
FROM met
LEFT JOIN tested_inputs AS i
    ON met.kind <> 'vendor' AND i.input = met.input
    AND coalesce(i.probe_cc, '') = coalesce(met.probe_cc, '')
    AND coalesce(i.probe_asn, '') = coalesce(met.probe_asn, '')
    AND i.probe_cc IS NOT DISTINCT FROM met.probe_cc
    AND i.probe_asn IS NOT DISTINCT FROM met.probe_asn
LEFT JOIN tested_reports AS r
    ON met.kind = 'vendor' AND r.test_name = met.test_name
    AND coalesce(r.report_id, '') = coalesce(met.report_id, '')
    AND r.report_id IS NOT DISTINCT FROM met.report_id
    AND r.test_start_time IS NOT DISTINCT FROM met.test_start_time
    AND r.probe_cc IS NOT DISTINCT FROM met.probe_cc
    AND r.probe_asn IS NOT DISTINCT FROM met.probe_asn;

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
