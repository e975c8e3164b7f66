"""The contract: annotations become checks inside a function; a value that fails one becomes an error."""
