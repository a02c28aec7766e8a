-- Measurements by country, those without two capitals together under null: how many, in how many a block page was
-- looked for, and in which buckets. Usage: after published.sql. No parameters.
SELECT
    country AS probe_cc,
    sum(measurements)::bigint AS measurements,
    sum(tested)::bigint AS tested,
    array_agg(DISTINCT bucket_date ORDER BY bucket_date) AS buckets
FROM (
    SELECT probe_cc, bucket_date, measurements, 0 AS tested FROM country_totals
    UNION ALL
    SELECT probe_cc, bucket_date, 0, total_count FROM report_totals
) AS totals,
LATERAL (SELECT CASE WHEN probe_cc ~ '^[A-Z][A-Z]$' THEN probe_cc END) AS spelled (country)
GROUP BY country
ORDER BY country COLLATE "C";
