"""The `dlr` command, one module a group of commands; no logic."""
