"""Whether the memory layout of the inputs matters."""
