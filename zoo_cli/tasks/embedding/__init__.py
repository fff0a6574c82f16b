"""A vector for a text."""
