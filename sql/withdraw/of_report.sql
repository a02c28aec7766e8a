-- Which measurements belong to a report: bucket_date, report_filename, id. Parameters: report_id.
-- Usage: python -m tasks.withdraw --report-id.
SELECT bucket_date, report_filename, id::text
FROM metrics
WHERE report_id = %(report_id)s
ORDER BY 1, 2, 3;
