-- How often each fingerprint matched: kind, name, matches, first and last bucket. No parameters.
-- Usage: python -m tasks.fingerprints unmatched.
SELECT kind, name, count(*), min(bucket_date), max(bucket_date) FROM fingerprint_matches GROUP BY kind, name;
