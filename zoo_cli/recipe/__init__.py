"""Floor 1: the recipe, its schema, loader, layers, overrides and checks. No paddle."""
