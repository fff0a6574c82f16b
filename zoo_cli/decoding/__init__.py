"""Floor 3: text generation in numpy: search strategies, logit rules, the running batch (`zoo_cli.decoding.engine`)."""
