-- What each version of the fingerprint table held, and how many measurements stand behind a match.
-- Usage: python -m tasks.migrate. No parameters.

CREATE TABLE fingerprint_tables (
    version text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    number integer NOT NULL,
    rule jsonb NOT NULL,
    first_used timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (version, kind, name, number)
);
COMMENT ON TABLE fingerprint_tables IS 'What each version of the fingerprint table held, so that a match of years ago can be explained';
COMMENT ON COLUMN fingerprint_tables.version IS 'Version of the table; fingerprint_matches.fingerprints and loads.fingerprints';
COMMENT ON COLUMN fingerprint_tables.kind IS 'What a match means, as in fingerprint_matches';
COMMENT ON COLUMN fingerprint_tables.name IS 'Name of the fingerprint, or of the vendor';
COMMENT ON COLUMN fingerprint_tables.number IS 'Which rule of that name: a vendor may have several';
COMMENT ON COLUMN fingerprint_tables.rule IS 'Where it looks, for what, in which countries (none: all), and who says so';
COMMENT ON COLUMN fingerprint_tables.first_used IS 'When this version was first used here';

ALTER TABLE fingerprint_matches ADD COLUMN tested_count bigint;
COMMENT ON COLUMN fingerprint_matches.tested_count IS 'The denominator, within the bucket. A vendor: measurements of the report in this nettest; else: measurements of this input in http_requests and web_connectivity from the same country and network, blocked or not. Null: no input, or loaded before there was this column (python -m tasks.refingerprint fills it)';
COMMENT ON COLUMN fingerprint_matches.kind IS 'blockpage; vendor; false_positive: looks like a block page and is none; vague: words that block pages use, and others. Views count the first two';
