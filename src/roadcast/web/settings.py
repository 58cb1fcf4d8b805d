"""What a server grants: one place for every cap, with the reason for its size."""

from dataclasses import dataclass, field

from roadcast.serving.seat import Limits


@dataclass(frozen=True)
class Settings:
    """Caps of one server; the defaults suit a public one.

    limits             of a session: age, idle time, snapshots (serving/seat.py)
    queue              clients that may wait for a seat; the next one is told to come again
    linger_s           how long a session whose connection was lost, or a branch nobody took, waits for its driver
    connections        of drivers at once, those without a session too
    sessions           open at once, of one caller
    posts_per_minute   uploads and rollouts of one caller
    messages_per_s     of one connection, a KiB each: what comes faster is read later
    clip_bytes, clips  size of an upload, and how many are kept, of one caller; the oldest goes
    uploads, decoders  clips on their way at once, of all callers, and processes that decode them, of up to 2 GiB each
    jobs               kept of one caller, done ones too; they are forgotten after job_s
    job_bytes          of one caller's results on the disk, together; a job that would make more fails
    slow_s             that the 99th percentile of a step may take, for a minute, before its version is taken out; None: 2 / fps
    origins            pages of other sites that may drive, besides the server's own
    webrtc             whether POST /v1/webrtc is there: who may call it lets the server send packets to addresses of its choice
    """

    limits: Limits = field(default_factory=lambda: Limits(age_s=3600.0, idle_s=300.0))
    queue: int = 16
    linger_s: float = 15.0
    connections: int = 500
    sessions: int = 8
    posts_per_minute: int = 60
    messages_per_s: int = 500
    clip_bytes: int = 2**25
    clips: int = 4
    uploads: int = 8
    decoders: int = 2
    jobs: int = 16
    job_s: float = 600.0
    job_bytes: int = 2**28
    slow_s: float | None = None
    origins: tuple[str, ...] = ()
    webrtc: bool = False
