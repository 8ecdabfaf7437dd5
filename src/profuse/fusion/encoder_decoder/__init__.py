"""Encoder-decoder family: merges of features and of decisions."""
