"""A manifest of images with pathology: imported, checked for near-duplicates, split, counted."""
