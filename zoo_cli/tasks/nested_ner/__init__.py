"""Named entities of which one kind may enclose the others."""
