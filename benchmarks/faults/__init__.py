"""Faults on purpose, against the real servers and workers, and a table of what came of them.

``python -m benchmarks.faults`` (hours), or ``--quick`` (minutes). What each row means: docs/reliability.md.
"""
