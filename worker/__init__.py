"""Breast-ultrasound inference: DICOM studies in, scores and a re-stratification of BI-RADS 4A out."""

__version__ = "0.1.0"
