"""Tagging of long documents, read segment by segment."""
