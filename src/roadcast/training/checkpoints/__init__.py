"""The full state of a stage on disk, so that a killed run goes on as if it had never stopped."""

from roadcast.training.checkpoints.checkpoints import Checkpoints, Saved

__all__ = ["Checkpoints", "Saved"]
