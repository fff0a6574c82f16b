"""Floor 0: errors with exit codes, atomic files, hashes, console output, resources, downloads. No paddle, no numpy."""
