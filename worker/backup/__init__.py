"""Backups: the ledger, the models, the accounts and the settings in one archive, and back from it."""
