"""The ledger in PostgreSQL: tables, views, writes and queries."""
