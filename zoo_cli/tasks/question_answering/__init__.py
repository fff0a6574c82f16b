"""Extractive reading comprehension: the piece of a text that answers a question."""
