"""Floor 0: errors with exit codes, atomic files, hashes, console output, resources and downloads. No paddle, no numpy."""
