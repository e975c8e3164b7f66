"""Models in files that run without this library, with their contract inside."""
