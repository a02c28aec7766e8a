-- The proof that a bucket is loaded, and the small per-bucket tables that the views read.
-- Usage: python -m tasks.migrate. No parameters.

CREATE TABLE loads (
    bucket_date date PRIMARY KEY,
    load_id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    reports integer NOT NULL,
    measurements bigint NOT NULL,
    fingerprints text NOT NULL,
    notes jsonb NOT NULL
);
COMMENT ON TABLE loads IS 'One row a loaded bucket, written in the transaction that loads its rows';
COMMENT ON COLUMN loads.bucket_date IS 'The bucket';
COMMENT ON COLUMN loads.load_id IS 'This load of it; a bucket that is loaded again, or matched again, gets another';
COMMENT ON COLUMN loads.loaded_at IS 'When';
COMMENT ON COLUMN loads.reports IS 'Sanitised reports that the rows come from';
COMMENT ON COLUMN loads.measurements IS 'Rows of metrics, counted there';
COMMENT ON COLUMN loads.fingerprints IS 'Version of the fingerprint table that was matched';
COMMENT ON COLUMN loads.notes IS 'What was changed to fit, by kind: {"nul": 3} is three U+0000 that became U+FFFD; under "refused" the entries that could not be loaded';

CREATE TABLE fingerprint_matches (
    bucket_date date NOT NULL,
    measurement_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    fingerprints text NOT NULL,
    input text,
    report_id text,
    test_start_time timestamp,
    probe_cc text,
    probe_asn text
);
COMMENT ON TABLE fingerprint_matches IS 'One row for each measurement and fingerprint that matched it';
COMMENT ON COLUMN fingerprint_matches.bucket_date IS 'The bucket';
COMMENT ON COLUMN fingerprint_matches.measurement_id IS 'metrics.id';
COMMENT ON COLUMN fingerprint_matches.kind IS 'blockpage or vendor';
COMMENT ON COLUMN fingerprint_matches.name IS 'Name of the fingerprint, or of the vendor';
COMMENT ON COLUMN fingerprint_matches.fingerprints IS 'Version of the fingerprint table';
COMMENT ON COLUMN fingerprint_matches.input IS 'As in metrics';
COMMENT ON COLUMN fingerprint_matches.report_id IS 'As in metrics';
COMMENT ON COLUMN fingerprint_matches.test_start_time IS 'As in metrics';
COMMENT ON COLUMN fingerprint_matches.probe_cc IS 'As in metrics';
COMMENT ON COLUMN fingerprint_matches.probe_asn IS 'As in metrics';
CREATE INDEX fingerprint_matches_bucket_idx ON fingerprint_matches (bucket_date);

CREATE TABLE report_totals (
    bucket_date date NOT NULL,
    report_id text,
    test_start_time timestamp,
    probe_cc text,
    probe_asn text,
    block_count bigint NOT NULL,
    total_count bigint NOT NULL
);
COMMENT ON TABLE report_totals IS 'One row for each report of http_requests and web_connectivity in a bucket';
COMMENT ON COLUMN report_totals.bucket_date IS 'The bucket';
COMMENT ON COLUMN report_totals.report_id IS 'As in metrics';
COMMENT ON COLUMN report_totals.test_start_time IS 'As in metrics';
COMMENT ON COLUMN report_totals.probe_cc IS 'As in metrics';
COMMENT ON COLUMN report_totals.probe_asn IS 'As in metrics';
COMMENT ON COLUMN report_totals.block_count IS 'Measurements with an input in which a block page was recognised';
COMMENT ON COLUMN report_totals.total_count IS 'Measurements with an input';
CREATE INDEX report_totals_bucket_idx ON report_totals (bucket_date);

CREATE TABLE country_totals (
    bucket_date date NOT NULL,
    probe_cc text,
    measurements bigint NOT NULL
);
COMMENT ON TABLE country_totals IS 'Measurements of all nettests by country and bucket';
COMMENT ON COLUMN country_totals.bucket_date IS 'The bucket';
COMMENT ON COLUMN country_totals.probe_cc IS 'As in metrics';
COMMENT ON COLUMN country_totals.measurements IS 'How many';
CREATE INDEX country_totals_bucket_idx ON country_totals (bucket_date);

CREATE TABLE views_contain (
    bucket_date date PRIMARY KEY,
    load_id bigint NOT NULL
);
COMMENT ON TABLE views_contain IS 'Which load of which bucket the materialised views show; replaced by each refresh';
COMMENT ON COLUMN views_contain.bucket_date IS 'The bucket';
COMMENT ON COLUMN views_contain.load_id IS 'loads.load_id';
