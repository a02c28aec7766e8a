-- The tables and views in which rows of a bucket lay that was replaced, and the statistics that quote rows;
-- of the latter only those that this role may vacuum. Parameters: bucket_date.
-- Usage: python -m tasks.withdraw, which vacuums them: else deleted rows stay in the files until autovacuum comes.
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE (
    c.relnamespace = current_schema()::regnamespace
    AND (
        c.relkind = 'm'
        OR c.relname IN ('metrics_' || to_char(%(bucket_date)s::date, 'YYYY_MM'))
        OR c.relname IN ('fingerprint_matches', 'report_totals', 'country_totals')
    )
) OR (
    c.oid IN ('pg_catalog.pg_statistic'::regclass)
    AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
)
ORDER BY c.relname LIKE 'pg_%%', 1;
