"""What drivers see of the server, and what it keeps: frame rates and latencies in a real browser, slow clients, leaks, lost servers.

    python benchmarks/serving.py [--quick] [--only PHASE ...] [--to docs/results/serving]
    python benchmarks/serving.py --soak HOURS [--to docs/results/serving]

Servers run in processes of their own, over loopback; the mock engine draws 512x288 pixels. In the page (Chromium, headless, 1280x800)
keys go down and up at random moments through the DevTools protocol; a key's time runs from the event to the canvas on which the
first frame that saw it has been drawn, and a gap lies between two draws (window.roadcast of web/static/stats.js). The phases:

    page     one session at 60 frames/s
    crowd    eight at 30: one in the page, seven clients in another process, whose gaps count too
    world    the world in the box, in the page: at its own pace, then as fast as it can
    slow     a client that reads 10 frames a second of 30
    churn    10,000 sessions opened and closed, every second one by cutting its socket
    replica  a server of the world in the box is killed, and its driver goes on at another one

Every phase prints its figures beside what they should be. --to keeps them, phase by phase, so that what was cut off goes on with
--only; the last line is one JSON object.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import CHROMIUM, Page, chromium, wait_for
from harness import commit, cpu_model
from serving_clients import KEYS_S, WARM_S, Seen, come_and_go, slow
from serving_host import Counts, Host, box, hosted, mock
from serving_replica import resume
from serving_soak import write

from roadcast.files import write_file

AIMS = {
    "fps_1_at_60": (">=", 58), "gap_p99_ms_8_at_30": ("<=", 60), "key_to_canvas_p99_ms": ("<=", 60),
    "fps_world": (">=", 30), "key_to_canvas_p50_ms_world": ("<=", 60), "slow_client_age_ms": ("<=", 250),
    "leaked_sessions": ("<=", 0), "leaked_files": ("<=", 0), "leaked_tasks": ("<=", 0), "growth_percent": ("<=", 2),
    "replica_resume_s": ("<=", 5), "replica_frames_that_differ": ("<=", 0),
}  # fmt: skip
KEYS = (("ArrowLeft", True), ("ArrowLeft", False), ("ArrowRight", True), ("ArrowRight", False))

Figures = dict[str, float]


# ---- in the page


@contextmanager
def page_of(host: Host) -> Iterator[Page]:
    """A browser whose page drives a session of this host."""
    if CHROMIUM is None:
        sys.exit("no chromium on the path; on Debian: apt-get install chromium; or leave out the phases of the page")
    with chromium() as open_page:
        page = open_page(host.url + "#drive")
        page.size(1280, 800)
        wait_for(lambda: page.script("(window.roadcast?.frames.length ?? 0) > 10"), 120)
        yield page


def watch(page: Page, seconds: float) -> Seen:
    """What the page shows in so many seconds, after a warm-up, while keys are pressed at random moments."""
    page.key("ArrowUp", down=True)
    time.sleep(WARM_S)
    begun, ends = page.script("performance.now()"), time.monotonic() + seconds
    for key, down in itertools.cycle(KEYS):
        time.sleep(random.uniform(*KEYS_S))
        if time.monotonic() > ends:
            break
        page.key(key, down)
    page.key("ArrowUp", down=False)
    frames = page.script(f"window.roadcast.frames.filter((frame) => frame.drawnAt > {begun})")
    received, drawn = ([frame[name] for frame in frames] for name in ("receivedAt", "drawnAt"))
    fps = 1e3 * (len(frames) - 1) / (received[-1] - received[0])
    gap_ms = [after - before for before, after in itertools.pairwise(drawn)]
    return Seen(fps, len(frames), gap_ms, [frame["keyToCanvasMs"] for frame in frames if frame["keyToCanvasMs"]])


def page(seconds: float) -> Figures:
    with hosted(mock(fps=60, seats=1)) as host, page_of(host) as page:
        seen = watch(page, seconds)
    return {
        "fps_1_at_60": seen.fps, "gap_p99_ms_1_at_60": percent(seen.gap_ms, 99),
        "key_to_canvas_p50_ms_1_at_60": percent(seen.key_ms, 50), "key_to_canvas_p99_ms_1_at_60": percent(seen.key_ms, 99),
    }  # fmt: skip


def crowd(seconds: float, others: int = 7) -> Figures:
    with hosted(mock(fps=30, seats=others + 1)) as host:
        clients = Path(__file__).with_name("serving_clients.py")
        command = [sys.executable, clients, host.url, "--drivers", str(others), "--seconds", str(seconds + 2 * WARM_S)]
        with page_of(host) as page, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
            wait_for(lambda: host.counts().connections > others, 120)
            seen = watch(page, seconds)
            theirs = Seen(**json.loads(crowd.communicate()[0]))
    return {
        "gap_p99_ms_8_at_30": percent(seen.gap_ms + theirs.gap_ms, 99), "gap_p99_ms_page_8_at_30": percent(seen.gap_ms, 99),
        "fps_page_8_at_30": seen.fps, "fps_least_8_at_30": theirs.fps,
        "key_to_canvas_p50_ms": percent(seen.key_ms, 50), "key_to_canvas_p99_ms": percent(seen.key_ms, 99),
        "key_to_client_p99_ms": percent(theirs.key_ms, 99),
    }  # fmt: skip


def world(seconds: float) -> Figures:
    with hosted(box("--seats", "2")) as host, page_of(host) as page:
        paced = watch(page, seconds)
        page.key("KeyU", down=True)
        page.key("KeyU", down=False)
        hurried = watch(page, seconds)
    return {
        "fps_world": hurried.fps, "key_to_canvas_p50_ms_world": percent(hurried.key_ms, 50),
        "key_to_canvas_p99_ms_world": percent(hurried.key_ms, 99), "fps_world_own_pace": paced.fps,
        "key_to_canvas_p50_ms_world_own_pace": percent(paced.key_ms, 50),
        "key_to_canvas_p99_ms_world_own_pace": percent(paced.key_ms, 99),
    }  # fmt: skip


# ---- without a page


def slow_client(seconds: float) -> Figures:
    with hosted(mock(fps=30, seats=1, linger_s=0.5)) as host:
        asyncio.run(slow(host.url, seconds / 4))
        before = settled(host)
        age_ms = asyncio.run(slow(host.url, seconds))
        after = settled(host)
    return {
        "slow_client_age_ms": max(age_ms), "slow_client_age_p50_ms": percent(age_ms, 50),
        "slow_client_growth_percent": growth(before, after),
    }  # fmt: skip


def churn(sessions: int) -> Figures:
    """The first tenth is let pass before memory is looked at."""
    with hosted(mock(fps=30, seats=64, linger_s=0.5)) as host:
        asyncio.run(come_and_go(host.url, min(64, sessions // 4)))
        first = settled(host)
        begun = time.monotonic()
        asyncio.run(come_and_go(host.url, sessions // 10))
        early = settled(host)
        asyncio.run(come_and_go(host.url, sessions - sessions // 10))
        seconds = time.monotonic() - begun
        late = settled(host)
    return {
        "sessions": sessions, "sessions_a_second": sessions / seconds, "leaked_sessions": late.seats + late.connections,
        "leaked_files": late.files - first.files, "leaked_tasks": late.tasks - first.tasks,
        "leaked_threads": late.threads - first.threads, "resident_mb": late.resident_mb, "growth_percent": growth(early, late),
    }  # fmt: skip


def replica(steps: int) -> Figures:
    resumed = resume(box("--seats", "1"), steps, after=20)
    return {
        "replica_resume_s": resumed.seconds, "replica_replayed_steps": resumed.steps,
        "replica_frames_compared": resumed.compared, "replica_frames_that_differ": resumed.compared - resumed.equal,
    }  # fmt: skip


def settled(host: Host, seconds: float = 10.0) -> Counts:
    """What a server holds when nobody is connected any more and lost sessions have ended, which they have so long to do."""
    until = time.monotonic() + seconds
    while (held := host.counts()).seats + held.connections and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(1.0)
    return host.counts()


def growth(before: Counts, after: Counts) -> float:
    """Of resident memory, in percent."""
    return 100 * (after.resident_mb / before.resident_mb - 1)


def percent(values: list[float], which: int) -> float:
    """A percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[which - 1]


# ---- the whole


def phases(quick: bool) -> dict[str, Callable[[], Figures]]:
    """Every phase in its size."""
    seconds = 2.0 if quick else 60.0
    return {
        "page": lambda: page(seconds),
        "crowd": lambda: crowd(seconds),
        "world": lambda: world(seconds / 2),
        "slow": lambda: slow_client(seconds),
        "churn": lambda: churn(32 if quick else 10_000),
        "replica": lambda: replica(20 if quick else 150),
    }


def row(name: str, value: float) -> str:
    """A figure, what it should be, and whether it is."""
    sign, aim = AIMS.get(name, ("", 0))
    holds = {"": "", ">=": value >= aim, "<=": value <= aim}[sign]
    return f"| {name} | {value:g} | {f'{sign} {aim}' if sign else ''} | {'' if holds == '' else 'yes' if holds else 'NO'} |"


def table(figures: Figures) -> list[str]:
    """All of them, for people."""
    return ["| figure | found | aim | met |", "| --- | --- | --- | --- |", *(row(*item) for item in figures.items())]


def keep(to: Path | None, figures: Figures) -> Figures:
    """These figures, over those kept before where a folder is given."""
    if to is None:
        return figures
    path = to / "figures.json"
    figures = (json.loads(path.read_text()) if path.exists() else {}) | figures
    write_file(path, lambda beside: beside.write_text(json.dumps(figures, indent=1) + "\n"))
    lines = [f"{cpu_model()}, {os.cpu_count()} cores; commit `{commit()}`", "", *table(figures)]
    write_file(to / "table.md", lambda beside: beside.write_text("\n".join(lines) + "\n"))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="seconds of each, 32 sessions: a glance in place of a measurement"
    )
    parser.add_argument("--only", nargs="+", choices=list(phases(True)), metavar="PHASE", help=", ".join(phases(True)))
    parser.add_argument("--to", type=Path, help="a folder to keep figures and table in")
    parser.add_argument("--soak", type=float, metavar="HOURS", help="nothing but eight sessions for so long")
    given = parser.parse_args()
    if given.soak:
        with hosted(mock(fps=30, seats=8)) as host:
            path = None if given.to is None else given.to / "soak.csv"
            minutes = asyncio.run(write(host, max(1, round(60 * given.soak)), drivers=8, path=path))
        whole, last = minutes[1:-1] or minutes, minutes[-1]
        figures: Figures = {
            "soak_minutes": len(minutes), "soak_fps_least": min(minute.fps for minute in whole),
            "soak_gap_p99_ms_most": max(minute.gap_p99_ms for minute in whole),
            "soak_growth_percent": 100 * (last.resident_mb / whole[0].resident_mb - 1),
        }  # fmt: skip
        print(json.dumps({name: round(value, 2) for name, value in keep(given.to, figures).items()}))
        return
    figures, failed = {}, []
    print("\n".join(table({})))
    for name, phase in phases(given.quick).items():
        if given.only and name not in given.only:
            continue
        try:
            found = {key: round(value, 2) for key, value in phase().items()}
        except Exception:  # the other phases are to be measured
            traceback.print_exc()
            failed.append(name)
            continue
        print("\n".join(row(*item) for item in found.items()), flush=True)
        figures = keep(given.to, figures | found)
    print(json.dumps(figures))
    if failed:
        sys.exit(f"without {' '.join(failed)}, which failed: see above")


if __name__ == "__main__":
    main()
