"""Reference results of other implementations; `python -m tests.golden FOLDER...` compares this one with them."""
