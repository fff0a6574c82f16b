"""ERNIE-Doc."""
