"""Audit messages: who saw or exported which study, sent to a site's collector (IHE ATNA) from what is on record."""
