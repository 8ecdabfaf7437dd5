"""Attention family: intra-modality, inter-modality, transformer."""
