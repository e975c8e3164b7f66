"""Whether the model follows the dtype it is converted to, made in or run under."""
