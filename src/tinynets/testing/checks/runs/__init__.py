"""Whether the model runs and returns one kind of output; every other check relies on it."""
