-- The proof. Parameters: bucket_date, reports, measurements, fingerprints, notes (JSON).
-- Usage: the last statement of a load; returns load_id.
INSERT INTO loads (bucket_date, reports, measurements, fingerprints, notes)
VALUES (%(bucket_date)s, %(reports)s, %(measurements)s, %(fingerprints)s, %(notes)s)
RETURNING load_id;
