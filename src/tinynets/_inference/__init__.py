"""A model as straight-line code for inference, bit-identical and never stale."""
