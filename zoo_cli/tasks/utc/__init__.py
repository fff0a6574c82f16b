"""Unified text classification: which of some options, spelt out in words, hold for a text."""
