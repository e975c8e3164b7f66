"""Whether gradients reach every parameter and input, are right, and train the model."""
