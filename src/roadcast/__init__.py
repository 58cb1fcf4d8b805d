"""roadcast: driving video in, a world you can drive out."""

__version__ = "0.1.0"
