"""An example of a roadcast plug-in."""
