"""The policies of reading order as migrations made them active, frozen: ``<policy>.<revision>.toml``."""
