"""UnifiedTransformer: PLATO-mini and PLATO-XL."""
