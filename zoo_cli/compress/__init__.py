"""Floor 8: smaller and faster models, each measured against the one it was made from."""
