"""Show rows in a terminal, a page, a notebook, a picture, or as data."""
