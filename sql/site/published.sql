-- What the public site may show: the buckets that are on the mirror and whose current load is in the views.
-- Parameters: dates (a list: the buckets on the mirror). Usage: first in a REPEATABLE READ transaction.
--
-- From then on the names of the small tables stand, for this session, for the rows of those buckets alone: so
-- the definitions of the views (see definition.sql), read once more, give what the views would show of them.
CREATE TEMPORARY TABLE published ON COMMIT DROP AS
SELECT bucket_date, load_id FROM loads JOIN views_contain USING (bucket_date, load_id)
WHERE bucket_date = ANY (%(dates)s::date[]);
ANALYZE published;
CREATE TEMPORARY VIEW fingerprint_matches AS
SELECT * FROM fingerprint_matches WHERE bucket_date IN (SELECT bucket_date FROM published);
CREATE TEMPORARY VIEW report_totals AS
SELECT * FROM report_totals WHERE bucket_date IN (SELECT bucket_date FROM published);
CREATE TEMPORARY VIEW country_totals AS
SELECT * FROM country_totals WHERE bucket_date IN (SELECT bucket_date FROM published);
SELECT bucket_date, load_id FROM published ORDER BY bucket_date;
