"""More texts out of labelled ones, by replacing words: `words`, `vectors`, `copies`, `rows`, `job`."""
