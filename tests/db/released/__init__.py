"""Ledgers as released versions left them: each schema's SQL with rows in every table, frozen."""
