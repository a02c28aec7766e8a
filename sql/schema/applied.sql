-- The files that were applied, with the digest of their text then. No parameters.
-- Usage: where the journal is there; see journal_exists.
SELECT file, digest FROM schema_migrations;
