"""A smaller model learns from a fine-tuned one: matches, named strategies, teachers, and the verb."""
