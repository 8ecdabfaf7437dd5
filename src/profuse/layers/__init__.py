"""Layers that encoders, fusion, imputation and retrieval share; none of them knows what a modality is."""
