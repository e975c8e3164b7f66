"""Whether the model follows the dtype it is converted to, built in or run under."""
