"""A model as a straight line of operations for inference, exact and never out of date."""
