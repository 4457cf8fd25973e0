"""The rules of medicine, as pure functions on plain values, readable by a radiologist; thresholds are on the cards."""
