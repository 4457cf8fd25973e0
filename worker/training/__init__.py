"""From images to a model: the phantom cohort, training and evaluation."""
