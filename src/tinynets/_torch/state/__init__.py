"""What a model and the process hold: everything reachable from a model, random states, global flags."""
