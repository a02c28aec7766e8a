-- Refresh the four views and note which loads they show. No parameters.
-- Usage: alone in a REPEATABLE READ transaction. The lock comes first, before the snapshot is taken, so that
-- what is noted is just what the views read; a load that commits meanwhile is in neither.
LOCK TABLE views_contain IN EXCLUSIVE MODE;
DELETE FROM views_contain;
INSERT INTO views_contain SELECT bucket_date, load_id FROM loads;
-- To compare the new rows with the old ones PostgreSQL sorts whole rows, which is quick where they come in order.
-- With more memory it groups by hash, and they come in none (measured: 40 s where this takes 20).
SET LOCAL work_mem = '4MB';
REFRESH MATERIALIZED VIEW CONCURRENTLY blockpage_count;
REFRESH MATERIALIZED VIEW CONCURRENTLY blockpage_urls;
REFRESH MATERIALIZED VIEW CONCURRENTLY country_counts;
REFRESH MATERIALIZED VIEW CONCURRENTLY identified_vendors;
