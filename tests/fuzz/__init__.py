"""Mutated reports through reading, normalising, sanitising and making rows: ``python -m tests.fuzz``."""
