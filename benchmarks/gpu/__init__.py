"""``python -m benchmarks.gpu``: the run that is prepared for a GPU."""
