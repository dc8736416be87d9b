"""Bundles: a run's answers as one file that another sidecar can replay. Format: docs/reference/bundles.md."""
