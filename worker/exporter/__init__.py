"""The Prometheus exporter of an installation: `dlr metrics`."""
