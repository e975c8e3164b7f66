"""Everything that relies on private or unstable parts of torch, behind ordinary functions."""
