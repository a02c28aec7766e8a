-- When the views were refreshed last: a refresh that is stuck must not go unnoticed.
-- Usage: python -m tasks.migrate. No parameters.

ALTER TABLE views_contain ADD COLUMN refreshed_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN views_contain.refreshed_at IS 'When that refresh began, by the clock of the database';
