"""Everything that relies on the private names or the moving parts of torch, behind ordinary functions."""
