"""Tests of moving files between machines."""
