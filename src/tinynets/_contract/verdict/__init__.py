"""Value -> verdict -> error: jaxtyping and beartype validate, and a message says what does not match."""
