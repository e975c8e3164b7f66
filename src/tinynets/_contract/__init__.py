"""The contract: annotations become checks in the function; a value gets a verdict, and that an error."""
