-- Two indexes for what researchers ask, in the place of narrower ones: the latest measurements of a network
-- (without it PostgreSQL sorts all that the network ever sent, or walks back through everybody's), and an input
-- in a country over all years (without it all rows of the input are read, and thrown away).
-- Usage: python -m tasks.migrate. No parameters.
--
-- Over a filled table this takes a few seconds a million rows. Loads wait for it, readers do not: only the last
-- statement shuts them out, for a moment, and waits for those that are reading. So the new indexes come first.
-- New partitions get them from metrics: see ensure_metrics_partition.

CREATE INDEX probe_asn_test_start_time_idx ON metrics (probe_asn, test_start_time DESC);
CREATE INDEX input_probe_cc_idx ON metrics (input, probe_cc);
DROP INDEX probe_asn_idx, input_idx;
