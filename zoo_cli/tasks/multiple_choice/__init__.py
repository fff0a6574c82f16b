"""The right one of several answers to a question about a text, or the right filling of a blank."""
