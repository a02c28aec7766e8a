-- What of the server's settings and roles will hurt later: how many locks a transaction may hold, the
-- encoding, whether the readers' role may read, and whether this session's errors, which quote rows, stay out of
-- the server's log. Usage: psql -f, or python -m tasks.migrate, which puts it into words. No parameters.
SELECT
    current_setting('max_locks_per_transaction')::integer AS locks,
    current_setting('server_encoding') AS encoding,
    EXISTS (
        SELECT FROM pg_roles
        WHERE rolname = 'ooni_reader' AND has_table_privilege(oid, to_regclass('metrics'), 'SELECT')
    ) AS reader_reads,
    current_setting('log_min_messages') IN ('log', 'fatal', 'panic') AS quiet;
