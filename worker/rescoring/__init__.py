"""Stored lesions, scored by versions that are not in service or made a manifest to train on. No worklist changes."""
