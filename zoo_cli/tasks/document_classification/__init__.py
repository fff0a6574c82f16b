"""One class, several classes or a score for a long document, read segment by segment."""
