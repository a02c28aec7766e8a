-- The query of a view, and its columns with their types, in order. Parameters: view. Usage: before
-- published.sql, whose names of tables it is to be read with.
SELECT
    rtrim(pg_get_viewdef(to_regclass(%(view)s)), ' ;'),
    array_agg(attname::text ORDER BY attnum),
    array_agg(atttypid::regtype::text ORDER BY attnum)
FROM pg_attribute
WHERE attrelid = to_regclass(%(view)s) AND attnum > 0 AND NOT attisdropped AND attname <> 'row_key';
