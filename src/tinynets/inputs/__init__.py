"""Inputs of a model: shape strings, the annotations of forward, symbolic sizes."""
