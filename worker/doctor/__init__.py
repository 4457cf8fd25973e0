"""Each component that the service needs: whether it is there, in which version, and what to do if it is not."""
