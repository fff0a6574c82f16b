"""UNIMO-Text."""
