"""The order of the worklist: who is read first, by a policy that is data and that a site can change."""
