-- The measurements: the 19 columns of the 2016 architecture in its order, then extra.
-- Usage: python -m tasks.migrate. No parameters.
--
-- One table for the reader, one partition a month for the writer: loading or replacing a bucket costs the
-- same after ten years as on the first day. A partition a day would make every look-up plan for ages.

CREATE TABLE metrics (
    id uuid NOT NULL,
    input text,
    report_id text,
    report_filename text,
    options jsonb,
    probe_cc text,
    probe_asn text,
    probe_ip text,
    data_format_version text,
    test_name text,
    test_start_time timestamp,
    measurement_start_time timestamp,
    test_runtime real,
    software_name text,
    software_version text,
    test_version text,
    bucket_date date NOT NULL,
    test_helpers jsonb,
    test_keys jsonb,
    extra jsonb
) PARTITION BY RANGE (bucket_date);

COMMENT ON TABLE metrics IS 'One row a measurement, sanitised. A bucket is always replaced as a whole.';
COMMENT ON COLUMN metrics.id IS 'Keyed digest of the bytes that were submitted: the same bytes have the same id for ever';
COMMENT ON COLUMN metrics.input IS 'What was tested (a URL, an address, the hashed fingerprint of a bridge); cut at 2,000 bytes, whole in extra';
COMMENT ON COLUMN metrics.report_id IS 'The probe run that this measurement belongs to';
COMMENT ON COLUMN metrics.report_filename IS 'BUCKET/REPORT.json: the file on the mirror, which has .gz behind it';
COMMENT ON COLUMN metrics.options IS 'Command line of the nettest';
COMMENT ON COLUMN metrics.probe_cc IS 'Country of the probe, two capitals; ZZ is unknown';
COMMENT ON COLUMN metrics.probe_asn IS 'Network of the probe, AS and a number; AS0 is unknown';
COMMENT ON COLUMN metrics.probe_ip IS 'Always 127.0.0.1 (withheld) or null';
COMMENT ON COLUMN metrics.data_format_version IS 'Format of the entry; legacy entries were brought into 0.2.0';
COMMENT ON COLUMN metrics.test_name IS 'The nettest';
COMMENT ON COLUMN metrics.test_start_time IS 'Start of the probe run, UTC, by the most trusted clock known (see extra.time_source)';
COMMENT ON COLUMN metrics.measurement_start_time IS 'Start of this measurement, UTC, mostly by the clock of the probe';
COMMENT ON COLUMN metrics.test_runtime IS 'Duration in seconds';
COMMENT ON COLUMN metrics.software_name IS 'Client that measured';
COMMENT ON COLUMN metrics.software_version IS 'Its version';
COMMENT ON COLUMN metrics.test_version IS 'Version of the nettest';
COMMENT ON COLUMN metrics.bucket_date IS 'UTC date on which the report was fetched from its collector';
COMMENT ON COLUMN metrics.test_helpers IS 'Servers that took part';
COMMENT ON COLUMN metrics.test_keys IS 'The results, particular to the nettest';
COMMENT ON COLUMN metrics.extra IS 'Every other top-level key, what did not fit its column, and under "sanitised" what was cut by which rule';

-- lz4 packs and unpacks several times as fast as the default; some builds lack it.
DO $$
BEGIN
    ALTER TABLE metrics ALTER COLUMN test_keys SET COMPRESSION lz4;
    ALTER TABLE metrics ALTER COLUMN options SET COMPRESSION lz4;
    ALTER TABLE metrics ALTER COLUMN test_helpers SET COMPRESSION lz4;
    ALTER TABLE metrics ALTER COLUMN extra SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this server is built without lz4; jsonb is packed with pglz';
END $$;

-- PostgreSQL wants the partition key in a unique index; sql/checks proves ids unique across buckets.
CREATE UNIQUE INDEX metrics_pkey ON metrics (id, bucket_date);
CREATE INDEX bucket_date_idx ON metrics (bucket_date);
CREATE INDEX probe_cc_idx ON metrics (probe_cc);
CREATE INDEX probe_asn_idx ON metrics (probe_asn);
CREATE INDEX input_idx ON metrics (input);
CREATE INDEX test_start_time_idx ON metrics (test_start_time);
CREATE INDEX test_name_idx ON metrics (test_name);
CREATE INDEX report_id_idx ON metrics (report_id);
CREATE INDEX test_start_time_probe_cc_idx ON metrics (test_start_time DESC, probe_cc);

CREATE FUNCTION ensure_metrics_partition(bucket date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', bucket);
    next date := first + interval '1 month';
    name text := 'metrics_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_metrics_partition'));
    -- Made while we waited? to_regclass would answer from its cache.
    IF EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = current_schema()::regnamespace) THEN
        RETURN;
    END IF;
    -- LIKE and ATTACH, because CREATE TABLE ... PARTITION OF waits for every reader and blocks new ones.
    -- The constraint spares ATTACH the look at every row.
    EXECUTE format('CREATE TABLE %I (LIKE metrics INCLUDING ALL)', name);
    EXECUTE format('COMMENT ON TABLE %I IS %L', name, 'The measurements of the buckets of one month; see metrics');
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT bounds CHECK (bucket_date >= %L AND bucket_date < %L)', name, first, next);
    EXECUTE format('ALTER TABLE metrics ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, next);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT bounds', name);
END $$;
COMMENT ON FUNCTION ensure_metrics_partition(date) IS 'Makes the partition for the month of a bucket where it is missing';
