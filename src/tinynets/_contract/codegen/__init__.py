"""From specs to a function: the guards, and the syntax tree that they are written into."""
