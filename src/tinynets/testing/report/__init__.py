"""The results of all checks, as data, text, tables and files."""
