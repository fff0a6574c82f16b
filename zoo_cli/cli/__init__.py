"""Floor 11: the command line. Files here import nothing heavy at their top."""
