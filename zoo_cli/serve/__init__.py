"""Floor 10: exported bundles behind HTTP. Imports neither models, engine nor export, and never paddle."""
