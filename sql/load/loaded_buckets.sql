-- Which buckets of a range are loaded. Parameters: first, last (dates). Usage: a range re-run asks once.
SELECT bucket_date FROM loads WHERE bucket_date BETWEEN %(first)s AND %(last)s;
