"""Fits on a Ray cluster: joining one, room in it, and what its workers need. Comparisons and searches share them."""
