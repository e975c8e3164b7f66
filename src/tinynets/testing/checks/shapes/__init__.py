"""Checks of the shapes that lines declare."""
