"""ERNIE-Health."""
