"""Floor 5: the one training loop (`loop.py`) and what it stands on. Imports paddle."""
