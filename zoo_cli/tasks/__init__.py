"""Floor 3: one folder a task; preprocessing, postprocessing and metrics in numpy, shared by training and serving."""
