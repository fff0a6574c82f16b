"""ERNIE 1.0, 2.0 and 3.0, with UIE (information extraction) and UTC (unified text classification)."""
