"""What administrators watch: metrics for Prometheus, drift, and traces."""
