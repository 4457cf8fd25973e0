"""A queued study is scored: the order of the steps, the leases of its worker, and what the ledger is told."""
