"""Questions to fitted models: comparison, metrics, statistics, and results as plain data."""
