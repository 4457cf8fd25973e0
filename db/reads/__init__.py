"""Everything that is read; nothing here writes."""
