"""Constraint family: coordinated spaces and tensor fusion."""
