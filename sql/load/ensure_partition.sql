-- A place for the rows of a bucket: the partition of its month. Parameters: bucket_date.
-- Usage: in a transaction of its own, before the load, so that loads of one month do not wait for each other.
SELECT ensure_metrics_partition(%(bucket_date)s);
