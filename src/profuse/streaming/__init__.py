"""Fits to more rows than memory holds: they are read in pieces, preprocessed once, and learned from on disk."""
