-- The bucket was matched with another table: a new load_id, so that the views know. Parameters: bucket_date,
-- fingerprints. Usage: the last statement of matching a bucket again; returns load_id and measurements.
UPDATE loads SET load_id = DEFAULT, fingerprints = %(fingerprints)s WHERE bucket_date = %(bucket_date)s
RETURNING load_id, measurements;
