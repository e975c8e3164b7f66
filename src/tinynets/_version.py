"""The version, which is also written to saved files."""

__version__ = "0.1.0"
