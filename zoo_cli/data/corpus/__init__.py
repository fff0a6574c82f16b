"""Text for pretraining: from raw files to token ids on disk, and from those to the masked inputs of each objective."""
