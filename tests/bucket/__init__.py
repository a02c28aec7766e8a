"""Tests of where a bucket lies and how a stage proves it."""
