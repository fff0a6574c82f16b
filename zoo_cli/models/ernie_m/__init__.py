"""ERNIE-M and UIE-M."""
