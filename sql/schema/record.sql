-- A file was applied. Parameters: file, digest. Usage: in the transaction that applies it.
INSERT INTO schema_migrations (file, digest) VALUES (%(file)s, %(digest)s)
ON CONFLICT (file) DO UPDATE SET digest = EXCLUDED.digest, applied_at = now();
