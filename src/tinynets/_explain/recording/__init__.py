"""From a model to rows: trace a forward pass line by line, and fold repeated lines."""
