"""Benchmarks: `python -m tests.bench`. They compare side by side in one run and report ratios."""
