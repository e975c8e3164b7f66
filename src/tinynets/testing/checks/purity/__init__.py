"""Whether a call leaves the model, its arguments and other calls alone."""
