-- Which inputs met a known block page, in which report, country and network.
-- Usage: created by python -m tasks.migrate, refreshed by tasks.refresh. No parameters.
DROP MATERIALIZED VIEW IF EXISTS blockpage_urls;
CREATE MATERIALIZED VIEW blockpage_urls AS
SELECT
    input,
    report_id,
    test_start_time,
    probe_cc,
    probe_asn,
    max(tested_count) AS tested_count, -- one number a bucket; the same report in two buckets is not twice as much
    md5(ROW(input, report_id, test_start_time, probe_cc, probe_asn)::text)::uuid AS row_key
FROM fingerprint_matches
WHERE kind = 'blockpage' AND input IS NOT NULL
GROUP BY input, report_id, test_start_time, probe_cc, probe_asn
ORDER BY input, report_id, test_start_time, probe_cc, probe_asn; -- see refresh.sql

CREATE UNIQUE INDEX blockpage_urls_row_key_idx ON blockpage_urls (row_key);

COMMENT ON MATERIALIZED VIEW blockpage_urls IS 'Inputs that met a known block page, once a report';
COMMENT ON COLUMN blockpage_urls.input IS 'As in metrics';
COMMENT ON COLUMN blockpage_urls.report_id IS 'As in metrics';
COMMENT ON COLUMN blockpage_urls.test_start_time IS 'As in metrics';
COMMENT ON COLUMN blockpage_urls.probe_cc IS 'As in metrics';
COMMENT ON COLUMN blockpage_urls.probe_asn IS 'As in metrics';
COMMENT ON COLUMN blockpage_urls.tested_count IS 'Measurements of this input from the same country and network, blocked or not, in the bucket where it was met; null: matched before this was counted';
COMMENT ON COLUMN blockpage_urls.row_key IS 'Identifies the row for concurrent refreshes; md5 of the columns';
