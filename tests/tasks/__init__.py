"""The tasks and commands, run as an operator runs them: real processes, real PostgreSQL."""
