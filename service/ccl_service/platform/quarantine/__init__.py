"""Rows of work that wait for a human: list them, give them back to the workers."""
