"""Extraction under a closed schema: all that a schema asks for in one pass, with the answers of UIE."""
