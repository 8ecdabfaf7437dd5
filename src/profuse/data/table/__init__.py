"""Tables: read a file, infer what its columns are, read their cells."""
