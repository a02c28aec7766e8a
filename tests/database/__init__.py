"""The database room against real servers."""
