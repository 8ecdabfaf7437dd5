"""One training loop, its options, methods of balancing modalities, and fitting on a data set."""
