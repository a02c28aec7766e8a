-- What this version of the fingerprint table holds, once. Parameters: version, rules (a JSON list of objects
-- with kind, name, number and rule). Usage: in a transaction of its own before the first match, so that loads
-- do not wait for each other.
INSERT INTO fingerprint_tables (version, kind, name, number, rule)
SELECT %(version)s, kind, name, number, rule
FROM jsonb_to_recordset(%(rules)s::jsonb) AS rules (kind text, name text, number integer, rule jsonb)
WHERE NOT EXISTS (SELECT FROM fingerprint_tables WHERE version = %(version)s)
ORDER BY kind, name, number
ON CONFLICT DO NOTHING;
