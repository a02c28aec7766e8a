-- Was this database ever migrated? No parameters. Usage: before reading the journal.
SELECT to_regclass('schema_migrations') IS NOT NULL;
