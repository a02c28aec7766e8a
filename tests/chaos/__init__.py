"""Nights in which something breaks: each fault, what the operator sees, and the run after it that heals.

``bin/test`` runs a short form: each kind of fault once. ``python -m tests.chaos 10`` runs the full matrix
(every stage, one and two workers, …) ten times in a row and stops at the first failure.
"""
