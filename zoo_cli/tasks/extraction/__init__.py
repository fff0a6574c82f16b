"""Universal information extraction (UIE): spans, relations, events, opinions and classes, asked for by prompts."""
