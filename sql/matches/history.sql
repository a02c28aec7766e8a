-- What versions of the table held under a name, the latest first: version, first_used, kind, rule (JSON).
-- Parameters: name. Usage: python -m tasks.fingerprints show.
SELECT version, first_used, kind, rule::text
FROM fingerprint_tables
WHERE name = %(name)s
ORDER BY first_used DESC, version, kind, number;
