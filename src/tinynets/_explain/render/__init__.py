"""From rows to what people read: a terminal, a page, a notebook, a picture, data."""
