"""Value -> verdict -> error: jaxtyping and beartype validate a value, and a message explains the mismatch."""
