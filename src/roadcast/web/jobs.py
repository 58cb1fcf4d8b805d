"""Rollouts as jobs: a session driven by a given log as fast as there is room for it, and a film or pictures made of it."""

import asyncio
import contextlib
import logging
import math
import secrets
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from roadcast.errors import UserError
from roadcast.optional import has_extra, load_extra
from roadcast.serving.action_log import Context
from roadcast.serving.seat import Full, Gone
from roadcast.web.messages import Create
from roadcast.web.settings import Settings
from roadcast.web.versions import Versions
from roadcast.web.video import jpeg
from roadcast.web.wheel import Driver

Form = Literal["mp4", "frames"]
Status = Literal["waiting", "running", "done", "failed", "cancelled"]
CRF = 18

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One rollout: `frames` pictures, the first included, of which `made` are there."""

    id: str
    caller: str
    form: Form
    frames: int
    path: Path
    status: Status = "waiting"
    made: int = 0
    error: str = ""
    ended_s: float = math.inf
    task: asyncio.Task | None = field(default=None, repr=False)


class Jobs:
    """The rollouts of all callers, in a folder of their own that goes with them."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._jobs: dict[str, Job] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="roadcast-jobs-"))

    def start(self, versions: Versions, ask: Create, clip: Context | None, form: Form, caller: str) -> Job:
        """Begin a rollout. Raises `Full` when the caller has as many jobs under way as may be; older results give way."""
        self._forget_old()
        own = [job for job in self._jobs.values() if job.caller == caller]
        if len(own) >= self._settings.jobs:
            ended = [job for job in own if job.ended_s < math.inf]
            if not ended:
                raise Full(5.0)
            self.remove(min(ended, key=lambda job: job.ended_s))
        versions.stable.check_scene(ask.scene)
        id = secrets.token_urlsafe(16)
        suffix = {"mp4": ".mp4", "frames": ".zip"}[form]
        job = Job(id, caller, form, 1 + sum(int(row[0]) for row in ask.log), self._folder / f"{id}{suffix}")
        self._jobs[id] = job
        job.task = asyncio.create_task(self._run(job, versions, ask, clip))
        return job

    def get(self, id: str, caller: str) -> Job:
        """A job of this caller's. Raises `Gone`."""
        self._forget_old()
        job = self._jobs.get(id)
        if job is None or job.caller != caller:
            raise Gone(f"there is no job {id[:40]}, or no longer")
        return job

    def remove(self, job: Job) -> None:
        """Cancel a job if it is under way, and forget it and what it made."""
        self._jobs.pop(job.id, None)
        if job.task is not None and not job.task.done():
            job.task.cancel()
        job.path.unlink(missing_ok=True)

    def cancel_all(self) -> None:
        """Stop those under way; their status tells."""
        for job in self._jobs.values():
            if job.task is not None:
                job.task.cancel()

    def close(self) -> None:
        """Remove everything that was made."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _bytes(self, caller: str) -> int:
        """What the results of a caller take on the disk, half-made ones too."""
        own = [job.path for job in self._jobs.values() if job.caller == caller]
        files = [file for path in own for file in (path, _beside(path)) if file.exists()]
        return sum(file.stat().st_size for file in files)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for job in [job for job in self._jobs.values() if job.ended_s + self._settings.job_s < now]:
            self.remove(job)

    async def _run(self, job: Job, versions: Versions, ask: Create, clip: Context | None) -> None:
        beside = _beside(job.path)
        writer, elsewhere = None, ""
        try:
            conductor, wheel = await versions.create(ask, clip, job.caller, _unheard)
            try:
                job.status = "running"
                driver = Driver(credit=math.inf, hurried=True)
                conductor.attach(wheel, driver)
                height, width, fps = conductor.backend.height, conductor.backend.width, conductor.fps
                writer = Pictures(beside) if job.form == "frames" else film(beside, fps, height, width)
                while job.made < job.frames:
                    shot = asyncio.ensure_future(wheel.next_shot())
                    await asyncio.wait([shot, driver.ended], return_when=asyncio.FIRST_COMPLETED)
                    if not shot.done():
                        shot.cancel()
                        if (ending := driver.ended.result()).moved is not None:
                            elsewhere = ending.moved.model
                            return
                        raise UserError(ending.message)
                    await asyncio.to_thread(writer.write, shot.result().frame_HWC)
                    job.made += 1
                    if self._bytes(job.caller) > (most := self._settings.job_bytes):
                        raise UserError(
                            f"rollout: results of more than {most} bytes after {job.made} frames; ask for fewer, or remove jobs"
                        )
            finally:
                conductor.close(wheel, "done" if job.made == job.frames else "cancelled")
            writer.close()
            writer = None
            beside.rename(job.path)
            job.status = "done"
        except asyncio.CancelledError:
            job.status = "cancelled"
        except (UserError, Full) as error:
            job.status, job.error = "failed", str(error)
        except Exception:
            log.exception("a rollout failed")
            job.status, job.error = "failed", "the rollout failed; see the server's log"
        finally:
            if writer is not None:
                with contextlib.suppress(Exception):
                    writer.close()
            beside.unlink(missing_ok=True)
            if elsewhere:  # its version is out of service: from the beginning, on a good one
                job.made = 0
                job.task = asyncio.create_task(self._run(job, versions, replace(ask, model=elsewhere), clip))
            else:
                job.ended_s = time.monotonic()


class Writer(Protocol):
    """What pictures, RGB uint8 HWC, are written to."""

    def write(self, image: np.ndarray) -> None: ...

    def close(self) -> None: ...


class Pictures:
    """A .zip of JPEGs, 000000.jpg the first."""

    def __init__(self, path: Path):
        self._zip, self._count = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED), 0

    def write(self, image: np.ndarray) -> None:
        self._zip.writestr(f"{self._count:06d}.jpg", jpeg(image))
        self._count += 1

    def close(self) -> None:
        self._zip.close()


class PlainFilm:
    """An .mp4 in MPEG-4 part 2, which OpenCV can write everywhere, and browsers cannot play."""

    def __init__(self, path: Path, fps: float, height: int, width: int):
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))

    def write(self, image: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


def film(path: Path, fps: float, height: int, width: int) -> Writer:
    """An .mp4 in H.264, or, without the extra `video`, in what OpenCV has."""
    if not has_extra("video_writer"):
        return PlainFilm(path, fps, height, width)
    return load_extra("video_writer", "an .mp4").FilmWriter(path, fps, height, width, CRF)


def _beside(path: Path) -> Path:
    """Where a result lies until it is whole."""
    return path.with_name(f".{path.name}")


async def _unheard(_: int) -> None:
    """A job hears nothing of its place in the line: its status is "waiting"."""
