"""A tag for each word or character, and the entities that the tags spell."""
