"""Extractive reading comprehension of long documents, read segment by segment."""
