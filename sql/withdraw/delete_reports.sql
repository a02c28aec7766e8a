-- Rows of some reports of a bucket go at once, whatever becomes of the load that follows. Parameters: bucket_date,
-- reports (what metrics.report_filename says, a line each). Usage: python -m tasks.withdraw, after load/lock_bucket.
--
-- The totals lose what no row stands behind any more; other numbers in them are right again with the next load.
DELETE FROM fingerprint_matches
WHERE bucket_date = %(bucket_date)s
  AND measurement_id IN (
      SELECT id FROM metrics
      WHERE bucket_date = %(bucket_date)s AND report_filename = ANY (string_to_array(%(reports)s, E'\n'))
  );
DELETE FROM metrics WHERE bucket_date = %(bucket_date)s AND report_filename = ANY (string_to_array(%(reports)s, E'\n'));
DELETE FROM report_totals AS t
WHERE t.bucket_date = %(bucket_date)s
  AND NOT EXISTS (
      SELECT FROM metrics AS m
      WHERE m.bucket_date = t.bucket_date
        AND m.report_id IS NOT DISTINCT FROM t.report_id
        AND m.test_start_time IS NOT DISTINCT FROM t.test_start_time
        AND m.probe_cc IS NOT DISTINCT FROM t.probe_cc
        AND m.probe_asn IS NOT DISTINCT FROM t.probe_asn
  );
DELETE FROM country_totals AS t
WHERE t.bucket_date = %(bucket_date)s
  AND NOT EXISTS (
      SELECT FROM metrics AS m
      WHERE m.bucket_date = t.bucket_date AND m.probe_cc IS NOT DISTINCT FROM t.probe_cc
  );
