"""Everything that is written, each function within its caller's transaction."""
