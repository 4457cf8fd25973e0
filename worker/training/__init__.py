"""From images with pathology to a model: configuration, training, and comparison with a reference."""
