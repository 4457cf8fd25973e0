"""Ports to listen on, and other servers' HTTP answers."""
