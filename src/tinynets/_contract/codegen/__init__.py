"""`Spec` -> function: guards, and the syntax tree that they are inserted into."""
