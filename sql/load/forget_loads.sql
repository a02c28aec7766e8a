-- The buckets are to be loaded again; readers see their rows until then. Parameters: first, last (dates).
-- Usage: python -m tasks.forget. A load that is under way now has read what is being forgotten, and its marker
-- is not to be seen yet: its lock (see lock_bucket) is, so wait for it.
SELECT pg_advisory_xact_lock(classid::integer, objid::integer)
FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = hashtext('load bucket')::oid
  AND objid::integer BETWEEN %(first)s - date '2000-01-01' AND %(last)s - date '2000-01-01';
DELETE FROM loads WHERE bucket_date BETWEEN %(first)s AND %(last)s;
