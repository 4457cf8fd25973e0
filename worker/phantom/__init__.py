"""Made-up lesions, drawn from the study's Table S1."""
