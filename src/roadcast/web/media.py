"""A user's clip to frames, in a process of its own that may crash, hang or eat its memory, and then is killed.

The process is given a file, never an address; it has no environment, writes no file, and answers over a pipe: a line of
JSON, and then the frames as they lie in memory.
"""

import asyncio
import json
import os
import resource
import sys
from collections import Counter, deque
from itertools import groupby
from pathlib import Path

import numpy as np

from roadcast.errors import UserError

BOOT = "from roadcast.web.media import main; main()"
FRAMES = 64
"""Of a clip, the last so many count: more than any world remembers."""
SECONDS = 10.0
MEMORY_BYTES = 2**31
PIXELS = 4096 * 2304
LONGEST = 18_000
"""Frames, before they are brought to the world's rate: ten minutes at 30 a second."""
GAP_S = 1.0
"""Between two frames that belong together."""


async def decode(path: Path, height: int, width: int, fps: float, seconds: float = SECONDS) -> np.ndarray:
    """The last frames [F, height, width, 3], RGB uint8, of a video at `fps`, F at most FRAMES, none of them before a gap.

    Raises `UserError` for a file that is no whole video, is too long or large, or cannot be decoded in `seconds` and MEMORY_BYTES.
    """
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OPENCV_IO_MAX_IMAGE_PIXELS": str(PIXELS),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", BOOT, str(path), str(height), str(width), str(fps), str(seconds), env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=2**16,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            answer = json.loads(await process.stdout.readline())
            if "refused" in answer:
                raise UserError(f"clip: {answer['refused']}")
            shape = (int(answer["frames"]), height, width, 3)
            if not 0 < shape[0] <= FRAMES:
                raise ValueError(shape)
            pixels = await process.stdout.readexactly(int(np.prod(shape)))
            return np.frombuffer(pixels, np.uint8).reshape(shape)
    except TimeoutError:
        raise UserError(f"clip: was not decoded in {seconds:g} s; send a shorter or smaller one") from None
    except (ValueError, KeyError, TypeError, asyncio.IncompleteReadError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("clip: made its decoder crash; repair it") from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def main() -> None:
    """The inside of the process: `argv` is path, height, width, fps, seconds."""
    path, height, width, fps, seconds = Path(sys.argv[1]), *map(int, sys.argv[2:4]), *map(float, sys.argv[4:6])
    limits = {"DATA": MEMORY_BYTES, "CPU": 1 + int(seconds), "FSIZE": 0, "CORE": 0}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a decoder prints
    try:
        frames = last_frames(path, height, width, fps)
    except UserError as error:
        out.write(json.dumps({"refused": str(error).replace(str(path), path.name)[:500]}).encode() + b"\n")
    else:
        out.write(json.dumps({"frames": len(frames)}).encode() + b"\n")
        for frame_HWC in frames:
            out.write(frame_HWC.tobytes())
    out.flush()
    os._exit(0)  # decoders' threads and destructors are not waited for


def last_frames(path: Path, height: int, width: int, fps: float) -> list[np.ndarray]:
    """The last FRAMES pictures of a video after its last gap, brought to a rate and cropped to a size."""
    import cv2

    from roadcast.data.intake.decode import read_video
    from roadcast.data.intake.fit import fit
    from roadcast.data.intake.guard import faults_told
    from roadcast.data.intake.limits import Limits, limited
    from roadcast.data.intake.resample import resample

    cv2.setNumThreads(1)

    def fitted():
        for number, (t_ns, image_HWC) in enumerate(read_video(path)):
            if number >= LONGEST:
                raise UserError(f"{path}: has more than {LONGEST} frames; cut it")
            yield t_ns, None if image_HWC is None else fit(image_HWC, height, width, "center")

    frames: deque[np.ndarray] = deque(maxlen=FRAMES)
    with limited(Limits(pixels=PIXELS, frames=LONGEST)), faults_told(path):
        for _, together in groupby(resample(fitted(), fps, GAP_S, Counter()), key=lambda moment: moment[0]):
            frames.clear()  # what came before a gap has not led to what comes after it
            frames.extend(np.asarray(image_HWC) for _, _, image_HWC, _ in together)
    if not frames:
        raise UserError(f"{path}: has no picture that can be read; repair it")
    return list(frames)
