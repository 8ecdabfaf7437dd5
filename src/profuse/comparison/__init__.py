"""The fair comparison: methods, fits, results, statistics, summary."""
