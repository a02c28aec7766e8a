-- One load of a bucket at a time, until the transaction ends. Parameters: bucket_date.
-- Usage: the first statement of a load; whoever waited looks at the marker again afterwards.
SELECT pg_advisory_xact_lock(hashtext('load bucket'), %(bucket_date)s::date - date '2000-01-01');
