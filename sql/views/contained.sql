-- Which buckets of a range have their current load in the views. Parameters: first, last (dates).
-- Usage: a range re-run asks once.
SELECT bucket_date FROM loads JOIN views_contain USING (bucket_date, load_id)
WHERE bucket_date BETWEEN %(first)s AND %(last)s;
