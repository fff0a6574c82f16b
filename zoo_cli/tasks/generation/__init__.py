"""Texts written for texts: summaries, titles, questions, advertisements."""
