-- The role that researchers and the web application use: reads everything, writes nothing.
-- Usage: python -m tasks.migrate; then GRANT ooni_reader TO whoever reads. No parameters. Where the pipeline's
-- role may not create roles, the administrator does it: CREATE ROLE ooni_reader NOLOGIN. Then once more, as the
-- pipeline's role: psql -f this file.

DO $$
BEGIN
    BEGIN
        IF to_regrole('ooni_reader') IS NULL THEN
            CREATE ROLE ooni_reader NOLOGIN;
        END IF;
    EXCEPTION
        WHEN insufficient_privilege THEN
            RAISE NOTICE 'this role may not create ooni_reader; ask the administrator of the server';
            RETURN;
        WHEN duplicate_object OR unique_violation THEN
            NULL; -- made at the same moment for another database
    END;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO ooni_reader', current_schema());
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO ooni_reader', current_schema());
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO ooni_reader', current_schema());
END $$;
