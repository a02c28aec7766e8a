"""Entries of every age become entries in the current format."""
