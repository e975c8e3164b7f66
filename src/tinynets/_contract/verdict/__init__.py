"""From a value that no guard accepts to an error: jaxtyping and beartype decide, and the message says why."""
