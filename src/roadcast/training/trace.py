"""A torch.profiler trace of chosen steps."""

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


class Trace:
    """Records steps `first` to `last` of a stage to `path`, for chrome://tracing or ui.perfetto.dev; nothing where `last` is 0."""

    def __init__(self, steps: tuple[int, int], path: Path):
        self.first, self.last = steps
        self.path = path
        self.profiler: profile | None = None

    def before(self, step: int) -> None:
        """Step number `step`, from 1, is about to begin."""
        if self.last and self.profiler is None and self.first <= step <= self.last:
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            self.profiler = profile(activities=activities)
            self.profiler.start()

    def after(self, step: int) -> bool:
        """It has ended; whether the trace was written."""
        if self.profiler is None or step < self.last:
            return False
        self.profiler.stop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.profiler.export_chrome_trace(str(self.path))
        self.profiler, self.last = None, 0
        return True
