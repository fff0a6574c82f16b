"""Floor 9: the road as a whole: benchmarks and reports over several artifacts."""
