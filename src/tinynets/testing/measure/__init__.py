"""What checks measure: differences of outputs and of states, gradients, other dtypes."""
