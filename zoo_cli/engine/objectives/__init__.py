"""What is minimised: one file for each way of training."""
