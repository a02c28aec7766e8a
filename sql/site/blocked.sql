-- What met a known block page: a row for each country, input, network and bucket. Usage: after published.sql,
-- by a cursor of the server's. No parameters.
SELECT
    probe_cc,
    input,
    probe_asn,
    bucket_date,
    count(DISTINCT measurement_id) AS blocked_count,
    max(tested_count) AS tested_count, -- one number for all of them
    string_agg(DISTINCT name, ' ') AS fingerprints,
    max(test_start_time) AS latest,
    (array_agg(report_filename ORDER BY test_start_time DESC NULLS LAST, report_filename))[1] AS report
FROM fingerprint_matches
WHERE kind = 'blockpage' AND input IS NOT NULL AND probe_cc ~ '^[A-Z][A-Z]$'
GROUP BY probe_cc, input, probe_asn, bucket_date
ORDER BY probe_cc COLLATE "C", input COLLATE "C", bucket_date, probe_asn COLLATE "C";
