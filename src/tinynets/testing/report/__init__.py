"""What became of every check, as data, text, tables and files."""
