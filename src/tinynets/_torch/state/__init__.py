"""State of a model and the process: everything reachable from a model, random states, global flags."""
