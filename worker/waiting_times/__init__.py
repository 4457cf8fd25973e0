"""How long studies wait to be read: a day's reading, simulated under several orders of the worklist."""
