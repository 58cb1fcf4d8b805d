"""Being asked to end, as schedulers ask before they take a machine away."""

import signal
import threading
from types import FrameType


class Asked:
    """While entered, SIGTERM does not end the process but makes this object true; a second one ends it after all.

    The loop looks at it after each step, so that what is saved is a whole step. Elsewhere than in the main thread, where Python
    delivers no signals, it stays false.
    """

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def __enter__(self) -> "Asked":
        self.before = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGTERM, self.before or signal.SIG_DFL)
