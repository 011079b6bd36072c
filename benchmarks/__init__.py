"""Benchmarks: each measures in one run, prints a table against what is required, and writes it as JSON."""
