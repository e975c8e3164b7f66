"""The forward pass, line by line: one trace becomes rows, and the rows become text, a page or data."""
