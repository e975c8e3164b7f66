"""Whether training and eval mode do what they should, and nothing else changes."""
