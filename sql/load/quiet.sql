-- What this session does wrong is told to its client and not to the server's log: there PostgreSQL quotes the
-- row, in the message, its detail and its context. Only where the role may set that (README, "Who sees what").
-- No parameters. Usage: the first statement of every connection.
SELECT set_config(name, quiet, false)
FROM (VALUES
    ('log_min_messages', 'log'),
    ('log_min_error_statement', 'panic'),
    ('log_error_verbosity', 'terse')
) AS wanted (name, quiet)
WHERE has_parameter_privilege(name, 'SET')
  AND current_setting(name) NOT IN ('log', 'fatal', 'panic', 'terse');
