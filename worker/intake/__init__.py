"""Ways in which a study arrives."""
