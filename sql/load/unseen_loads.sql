-- Loads that the views do not show though they are older than so many seconds; how old the oldest is and the last
-- refresh, in seconds (null: none), and the clock of the database (UTC). Parameters: seconds. Usage: tasks.check.
SELECT
    count(*) FILTER (WHERE views_contain.bucket_date IS NULL AND loaded_at < now() - make_interval(secs => %(seconds)s)),
    extract(epoch FROM now() - min(loaded_at) FILTER (WHERE views_contain.bucket_date IS NULL))::bigint,
    extract(epoch FROM now() - max(refreshed_at))::bigint,
    clock_timestamp() AT TIME ZONE 'UTC'
FROM loads LEFT JOIN views_contain USING (bucket_date, load_id);
