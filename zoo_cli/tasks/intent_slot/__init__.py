"""What a command wants, and the parts of it that say so."""
