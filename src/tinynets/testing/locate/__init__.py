"""Where in a model something happens: where samples mix, where two runs diverge, where gradients stop."""
