"""What became of the advice: rates held against the study, pathology, and other thresholds tried on stored scores."""
