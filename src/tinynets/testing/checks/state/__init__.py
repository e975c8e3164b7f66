"""Whether the state is registered, repeatable, and survives saving, loading and copying."""
