"""What speaks against scoring a lesion's region, and what follows from it."""
