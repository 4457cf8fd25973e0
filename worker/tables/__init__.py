"""Rows of CSV, JSON and Parquet: each a line and its cells by their columns."""
