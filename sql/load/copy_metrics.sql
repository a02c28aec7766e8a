-- Rows of metrics as CSV. No parameters. Usage: with COPY's data from ooni_pipeline.database.rows.
COPY metrics (
    id, input, report_id, report_filename, options, probe_cc, probe_asn, probe_ip, data_format_version,
    test_name, test_start_time, measurement_start_time, test_runtime, software_name, software_version,
    test_version, bucket_date, test_helpers, test_keys, extra
) FROM STDIN WITH (FORMAT csv);
