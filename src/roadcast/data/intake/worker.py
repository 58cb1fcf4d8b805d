"""The inside of a worker process: it lists a source or takes a recording as it is asked to, in JSON over a socket."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import cv2

from roadcast.data.intake.plan import Plan
from roadcast.data.intake.take import Taker
from roadcast.errors import UserError

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the process `argv[2]` over the descriptor `argv[1]` with at most `argv[3]` bytes of private memory, until it hangs up."""
    descriptor, parent, memory = map(int, sys.argv[1:4])
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    cv2.setNumThreads(1)
    link = Connection(descriptor)
    taker: Taker | None = None
    while True:
        try:
            request = json.loads(link.recv_bytes())
        except (EOFError, OSError):
            return
        plan = Plan.of(request["plan"])
        if taker is None or taker.plan != plan:
            if taker:
                taker.close()
            taker = Taker(plan)
        with taker.telling(lambda frames, reading: _send(link, {"frames": frames, "reading": reading})):
            answer = _answer(taker, request)
        _send(link, answer)


def _send(link: Connection, message: dict[str, Any]) -> None:
    link.send_bytes(json.dumps(message).encode())


def _answer(taker: Taker, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"done": taker.take(**request["take"]) if "take" in request else taker.listing()}
    except UserError as error:
        return {"refused": str(error)}
    except OSError as error:
        return {"os_error": [error.errno, error.strerror, error.filename and str(error.filename)]}
    except Exception:
        return {"fault": traceback.format_exc()}


def _die_with(parent: int) -> None:
    """Be killed by the system when the process `parent` ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()
