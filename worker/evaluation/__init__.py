"""How good models are: statistics of their scores against pathology, plots of them, and a report. No torch."""
