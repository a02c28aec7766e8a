-- Which files of sql/schema and sql/views were applied: made before the first of them. No parameters.
-- Usage: the first statements of python -m tasks.migrate, one of which runs at a time.
SELECT pg_advisory_xact_lock(hashtext('migrate'));
CREATE TABLE IF NOT EXISTS schema_migrations (
    file text PRIMARY KEY,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_migrations IS 'Which files of sql/schema and sql/views were applied';
COMMENT ON COLUMN schema_migrations.file IS 'Name below sql/';
COMMENT ON COLUMN schema_migrations.digest IS 'SHA-256 of its text then';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When';
