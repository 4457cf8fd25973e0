"""The embedded servers, `dlr up` and the configuration of Flower."""
