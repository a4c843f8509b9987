"""The version of bigmodel."""

__version__ = "0.1.0"
