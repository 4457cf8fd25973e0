"""Figures, each from one command; none of them is a test."""
