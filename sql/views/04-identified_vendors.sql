-- Which middlebox products were recognised in which report, country and network.
-- Usage: created by python -m tasks.migrate, refreshed by tasks.refresh. No parameters.
DROP MATERIALIZED VIEW IF EXISTS identified_vendors;
CREATE MATERIALIZED VIEW identified_vendors AS
SELECT
    test_start_time,
    probe_cc,
    probe_asn,
    report_id,
    name AS vendor,
    max(tested_count) AS tested_count, -- one number a bucket and nettest
    md5(ROW(test_start_time, probe_cc, probe_asn, report_id, name)::text)::uuid AS row_key
FROM fingerprint_matches
WHERE kind = 'vendor'
GROUP BY test_start_time, probe_cc, probe_asn, report_id, name;

CREATE UNIQUE INDEX identified_vendors_row_key_idx ON identified_vendors (row_key);

COMMENT ON MATERIALIZED VIEW identified_vendors IS 'Middlebox products that were recognised, once a report';
COMMENT ON COLUMN identified_vendors.test_start_time IS 'As in metrics';
COMMENT ON COLUMN identified_vendors.probe_cc IS 'As in metrics';
COMMENT ON COLUMN identified_vendors.probe_asn IS 'As in metrics';
COMMENT ON COLUMN identified_vendors.report_id IS 'As in metrics';
COMMENT ON COLUMN identified_vendors.vendor IS 'bluecoat, squid or privoxy';
COMMENT ON COLUMN identified_vendors.tested_count IS 'Measurements of this report in the nettest that shows this vendor; null: matched before this was counted';
COMMENT ON COLUMN identified_vendors.row_key IS 'Identifies the row for concurrent refreshes; md5 of the columns';
