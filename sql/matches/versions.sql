-- With which fingerprint table each loaded bucket of a range was matched. Parameters: first, last (dates).
-- Usage: which buckets are to be matched again?
SELECT bucket_date, fingerprints FROM loads WHERE bucket_date BETWEEN %(first)s AND %(last)s;
