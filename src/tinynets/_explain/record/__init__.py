"""From a model to rows: a forward pass is traced line by line, and what was seen is folded."""
