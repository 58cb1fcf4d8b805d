"""Experiment trackers: each a `roadcast.training.metrics.Logger` over a package beyond the core."""

from roadcast.tracking.build import build_tracker, build_trackers, register_tracker

__all__ = ["build_tracker", "build_trackers", "register_tracker"]
