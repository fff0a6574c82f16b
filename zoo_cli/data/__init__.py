"""Floor 2: examples, readers, converters, checks, batching and corpora. No paddle."""
