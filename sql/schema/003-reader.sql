-- The role that researchers and the web application use: reads everything, writes nothing.
-- Usage: python -m tasks.migrate; then GRANT ooni_reader TO whoever reads. No parameters.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ooni_reader') THEN
        CREATE ROLE ooni_reader NOLOGIN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO ooni_reader', current_schema());
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO ooni_reader', current_schema());
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO ooni_reader', current_schema());
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'this role may not create ooni_reader; ask the administrator of the server';
    WHEN duplicate_object OR unique_violation THEN
        RAISE NOTICE 'ooni_reader was made at the same moment for another database';
END $$;
