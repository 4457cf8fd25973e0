"""The whole service once, on phantom studies, for a person who wants to see it work."""
