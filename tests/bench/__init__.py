"""Benchmarks: what the figures in docs/benchmarks.md are made with. Never part of the test run."""
