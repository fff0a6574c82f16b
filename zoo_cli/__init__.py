"""zoo: one command line for the PaddleNLP Transformer model zoo."""

__version__ = "0.1.0"
