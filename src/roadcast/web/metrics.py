"""What Prometheus is told: counts, gauges and histograms of one server, by the names that the dashboard and the alerts use."""

import resource
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.002, 0.005, 0.01, 0.016, 0.025, 0.033, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One server's figures, in a registry of their own.

    sessions and queue   what to ask how many sessions are open, and how many clients wait, when the figures are read
    """

    def __init__(self, sessions: Callable[[], int], queue: Callable[[], int]):
        self.registry = CollectorRegistry()
        within = {"registry": self.registry}
        Gauge("roadcast_sessions_open", "Sessions that hold a seat", **within).set_function(sessions)
        Gauge("roadcast_queue_length", "Clients that wait for a seat", **within).set_function(queue)
        memory = Gauge("roadcast_memory_bytes", "Memory in use", ["kind"], **within)
        memory.labels("resident").set_function(resident_bytes)
        memory.labels("peak").set_function(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        memory.labels("device").set_function(device_bytes)
        self.sessions = Counter("roadcast_sessions", "Sessions ended, by how", ["end"], **within)
        self.first_frame = Histogram(
            "roadcast_first_frame_seconds", "From asking for a session to its first frame", buckets=SECONDS, **within
        )
        self.step = Histogram(
            "roadcast_step_seconds", "One step of the model, of all its rows", buckets=SECONDS, **within
        )
        self.action_to_frame = Histogram(
            "roadcast_action_to_frame_seconds", "From reading an action to sending the first frame that saw it",
            buckets=SECONDS, **within,
        )  # fmt: skip
        self.frame_gap = Histogram(
            "roadcast_frame_gap_seconds", "Between two frames sent to one client", buckets=SECONDS, **within
        )
        self.dropped = Counter("roadcast_frames_dropped", "Frames that gave way to newer ones unsent", **within)
        self.out_of_distribution = Counter(
            "roadcast_out_of_distribution", "Frames of a world far from what the model knows", **within
        )
        self.rollbacks = Counter("roadcast_rollbacks", "Versions taken out of traffic", **within)
        self.info = Gauge("roadcast_info", "What is served", ["version", "model"], **within)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


def resident_bytes() -> float:
    """Memory that the process has at present, where the system tells (Linux); else 0."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0.0


def device_bytes() -> float:
    """Memory that torch has taken of the GPU."""
    import torch

    return float(torch.cuda.memory_reserved()) if torch.cuda.is_available() else 0.0
