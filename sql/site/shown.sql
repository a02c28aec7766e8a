-- Which load of each bucket of a range the views show, where it is the current one. Parameters: first, last
-- (dates). Usage: does the public site show it too?
SELECT bucket_date, load_id FROM loads JOIN views_contain USING (bucket_date, load_id)
WHERE bucket_date BETWEEN %(first)s AND %(last)s;
