-- In how many measurements of a report a block page was recognised, of how many: reports with at least one.
-- Usage: created by python -m tasks.migrate, refreshed by tasks.refresh. No parameters.
DROP MATERIALIZED VIEW IF EXISTS blockpage_count;
CREATE MATERIALIZED VIEW blockpage_count AS
SELECT
    block_count,
    total_count,
    report_id,
    test_start_time,
    probe_cc,
    probe_asn,
    tested_count,
    md5(ROW(report_id, test_start_time, probe_cc, probe_asn)::text)::uuid AS row_key
FROM (
    SELECT
        sum(block_count)::bigint AS block_count,
        sum(total_count)::bigint AS total_count,
        report_id,
        test_start_time,
        probe_cc,
        probe_asn,
        -- Before the reports without a block page are left out.
        sum(sum(total_count)) OVER (PARTITION BY probe_cc, probe_asn, test_start_time::date)::bigint AS tested_count
    FROM report_totals
    GROUP BY report_id, test_start_time, probe_cc, probe_asn
) AS reports
WHERE block_count > 0;

CREATE UNIQUE INDEX blockpage_count_row_key_idx ON blockpage_count (row_key);

COMMENT ON MATERIALIZED VIEW blockpage_count IS 'Reports in which a block page was recognised';
COMMENT ON COLUMN blockpage_count.block_count IS 'Measurements with an input that met a known block page';
COMMENT ON COLUMN blockpage_count.total_count IS 'Measurements of the report with an input';
COMMENT ON COLUMN blockpage_count.report_id IS 'As in metrics';
COMMENT ON COLUMN blockpage_count.test_start_time IS 'As in metrics';
COMMENT ON COLUMN blockpage_count.probe_cc IS 'As in metrics';
COMMENT ON COLUMN blockpage_count.probe_asn IS 'As in metrics';
COMMENT ON COLUMN blockpage_count.tested_count IS 'Measurements with an input of http_requests and web_connectivity from the same country and network on the same UTC day of test_start_time, in all reports, those without a block page included';
COMMENT ON COLUMN blockpage_count.row_key IS 'Identifies the row for concurrent refreshes; md5 of the columns';
