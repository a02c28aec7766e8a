-- Which published file shows a match: the country pages of the mirror link to it.
-- Usage: python -m tasks.migrate. No parameters. Over a filled table: one look-up of metrics for each match.

ALTER TABLE fingerprint_matches ADD COLUMN report_filename text;
COMMENT ON COLUMN fingerprint_matches.report_filename IS 'As in metrics: the file on the mirror, which has .gz behind it';
UPDATE fingerprint_matches AS f SET report_filename = m.report_filename
FROM metrics AS m WHERE m.id = f.measurement_id AND m.bucket_date = f.bucket_date;
