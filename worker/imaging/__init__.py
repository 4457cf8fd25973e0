"""DICOM to pixels: reading, regions, age, cropping. No torch here."""
