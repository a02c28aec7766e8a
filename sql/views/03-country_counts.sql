-- How many measurements of all nettests there are from each country, and in how many a block page was looked for.
-- Usage: created by python -m tasks.migrate, refreshed by tasks.refresh. No parameters.
DROP MATERIALIZED VIEW IF EXISTS country_counts;
CREATE MATERIALIZED VIEW country_counts AS
SELECT
    probe_cc,
    sum(measurements)::bigint AS count,
    sum(tested)::bigint AS tested_count,
    md5(ROW(probe_cc)::text)::uuid AS row_key
FROM (
    SELECT probe_cc, measurements, 0 AS tested FROM country_totals
    UNION ALL
    SELECT probe_cc, 0, total_count FROM report_totals
) AS both_totals
GROUP BY probe_cc;

CREATE UNIQUE INDEX country_counts_row_key_idx ON country_counts (row_key);

COMMENT ON MATERIALIZED VIEW country_counts IS 'Measurements by country';
COMMENT ON COLUMN country_counts.probe_cc IS 'As in metrics';
COMMENT ON COLUMN country_counts.count IS 'Measurements, of all nettests and buckets';
COMMENT ON COLUMN country_counts.tested_count IS 'Those of http_requests and web_connectivity with an input: where a block page could have been recognised';
COMMENT ON COLUMN country_counts.row_key IS 'Identifies the row for concurrent refreshes; md5 of the columns';
