"""Models with one seeded bug each, and next to each what the same model is like without it."""
