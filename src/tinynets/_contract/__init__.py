"""The contract: turn annotations into checks inside the function, and failed checks into errors."""
