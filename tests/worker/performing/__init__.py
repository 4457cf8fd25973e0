"""Work items performed."""
