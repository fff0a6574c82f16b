"""Subject, predicate and object: relations between entities, both found at once."""
