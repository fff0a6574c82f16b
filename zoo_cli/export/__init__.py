"""Floor 6: from a trained model to graphs that run without its Python code, proven equal, in a bundle."""
