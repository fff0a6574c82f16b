"""Replies in a dialogue."""
