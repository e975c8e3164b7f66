"""From a model to rows: trace a forward pass line by line, and fold lines that ran alike."""
