"""Stored lesions scored with versions that are not in service: shadows and backfills. None of it reaches a worklist."""
