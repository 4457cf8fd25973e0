"""Ports to listen at, and other servers' HTTP answers."""
