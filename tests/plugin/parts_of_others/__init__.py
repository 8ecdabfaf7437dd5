"""One part of each kind, a file each."""
