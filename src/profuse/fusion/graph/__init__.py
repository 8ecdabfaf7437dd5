"""Graph family: rows related to rows, or modalities to modalities."""
