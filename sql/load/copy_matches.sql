-- Matches as CSV: measurement_id, kind, name. No parameters. Usage: after the rows that they belong to.
COPY matched FROM STDIN WITH (FORMAT csv);
