"""`roadcast models`: versions of worlds, and which of them is served."""
