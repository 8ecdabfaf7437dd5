"""Generative family: models of how the modalities come about."""
