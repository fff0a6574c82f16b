"""The right one of several answers to a question about a long document, read segment by segment."""
