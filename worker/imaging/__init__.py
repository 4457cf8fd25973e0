"""DICOM to pixels: reading, regions, age, cropping. No torch here; reading and age need neither numpy nor Pillow."""
