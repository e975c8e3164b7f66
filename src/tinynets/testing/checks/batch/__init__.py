"""Whether the samples of a batch stay independent, and which batch sizes run."""
