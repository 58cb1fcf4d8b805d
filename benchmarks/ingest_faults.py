"""What ingest does with files that are broken, and with being killed.

    python benchmarks/ingest_faults.py [--quick] [--data FOLDER] [--files N] [--kills N] [--seed N] [--table FILE]

Small films, pictures, donkeycar tubs and tables, cut from real recordings where --data has them, are broken in four ways
(bits flipped, cut short, the beginning of another kind of file put on, a block zeroed) and given to `ingest`, many in one
call; each call is made by a host process of its own, whose end is looked at. For every recording that was accepted, the
pictures are held against the original's. Then an ingest of 200 recordings is killed with all its processes at random
moments, started again each time, and its reel compared with one that was left in peace. The last line is one JSON object.

What is counted, by kind of file:
  rejected         the recording was refused, with a reason
  cut              accepted, and the summary says that pictures are missing or damaged, where it is cut
  whole            accepted without a word; of these
    same             every picture is the original's, byte for byte
    changed          all pictures are there and decoded, some of them not to what they were: damage that its format has no
                     checksum to tell of
    other_times      all pictures are the original's, but their times are not, so that the reel repeats or leaves out some
  short_as_whole   accepted without a word though pictures are missing, or cut short though the rest of it is not all there
  host_crashes     the host process died, or raised what is not a `UserError`
  hangs            no recording gave a sign for more than 10 s
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roadcast.data.ingest import ingest
from roadcast.data.intake.decode import decoding, read_video
from roadcast.data.intake.limits import Limits
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.optional import has_extra

FRAMES, RATE, SIZE = 24, 20.0, (72, 128)
HANG_S = 10.0
LIMITS = Limits(seconds=0.9, memory_gib=1.0)
"""Nine seconds without a sign are the most that a worker is given anywhere (ten times as long as for a frame)."""
SHARES = {
    "mp4 by PyAV": 18,
    "mp4 by OpenCV": 16,
    "jpg": 20,
    "png": 10,
    "tub folders": 12,
    "tub archives": 12,
    "tables": 12,
}
BATCH = 250
MISSING_NOTE = "pictures are missing, damaged"


# --- seeds ---


def pictures(data: Path | None, count: int, start: int = 0) -> list[np.ndarray]:
    """BGR pictures of a real drive, or of the built-in world."""
    film = data / "mp4" / "kart_dashcam.mp4" if data else None
    if film and film.is_file():
        frames = [image[..., ::-1] for _, image in read_video(film)][start : start + count]
    else:
        from roadcast.data.toyroad import Driver, ToyWorld

        world, driver, frames = ToyWorld(start, SIZE[0], SIZE[1]), Driver(start), []
        for _ in range(count):
            world.step(*driver.act(world))
            frames.append(world.render()[..., ::-1])
    return [cv2.resize(np.ascontiguousarray(f), SIZE[::-1], interpolation=cv2.INTER_AREA) for f in frames]


def write_film(path: Path, images: list[np.ndarray], codec: str = "libx264", first: bool = False) -> Path:
    """H.264 with B-frames, or HEVC, where PyAV can code it, else MPEG-4; `first` puts the tables before the pictures."""
    if not has_extra("pyav"):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, SIZE[::-1])
        for image in images:
            writer.write(image)
        writer.release()
        return path
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"} if first else {}) as container:
        options = {"crf": "20", "g": "12"} if codec == "libx264" else {"x265-params": "log-level=none:keyint=12"}
        stream = container.add_stream(codec, rate=round(RATE), options=options)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def write_tub(folder: Path, images: list[np.ndarray]) -> Path:
    """A donkeycar tub as the car writes it: manifest, two catalogs, each with its own manifest, and pictures."""
    (folder / "images").mkdir(parents=True)
    names, half = [], len(images) // 2
    for c, part in enumerate((range(half), range(half, len(images)))):
        lines = []
        for n in part:
            name = f"{n}_cam_image_array_.jpg"
            cv2.imwrite(str(folder / "images" / name), images[n])
            lines.append(json.dumps({
                "_index": n, "_session_id": "a_0", "_timestamp_ms": 1668211252201 + 50 * n, "cam/image_array": name,
                "user/angle": round(0.1 * np.sin(n / 3), 6), "user/mode": "user", "user/throttle": 0.3,
            }))  # fmt: skip
        names.append(f"catalog_{c}.catalog")
        (folder / names[-1]).write_text("\n".join(lines) + "\n")
        told = {"created_at": 0.0, "line_lengths": [len(line) + 1 for line in lines], "start_index": part[0]}
        (folder / f"{names[-1]}_manifest").write_text(json.dumps(told))
    last = {"paths": names, "current_index": len(images), "max_len": 1000, "deleted_indexes": []}
    head = [["cam/image_array", "user/angle", "user/mode", "user/throttle"], ["image_array", "float", "str", "float"]]
    rows = [*head, {}, {"created_at": 0.0, "sessions": {}}, last]
    (folder / "manifest.json").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def write_table(path: Path) -> Path:
    rows = [{"t": round(n / RATE, 3), "steer": round(float(np.sin(n / 5)), 4), "speed": 8.5} for n in range(FRAMES)]
    if path.suffix == ".csv":
        path.write_text("t,steer,speed\n" + "".join(f"{r['t']},{r['steer']},{r['speed']}\n" for r in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass
class Seeds:
    """Whole files to break, in `folder`."""

    folder: Path
    images: list[np.ndarray]

    def __post_init__(self) -> None:
        kinds = {"h264": ("libx264", False), "h264-first": ("libx264", True), "hevc": ("libx265", False)}
        self.films = {name: write_film(self.folder / f"{name}.mp4", self.images, *how) for name, how in kinds.items()}
        self.short_film = write_film(self.folder / "short.mp4", self.images[:8])
        self.pictures = {}
        for suffix in (".jpg", ".png"):
            self.pictures[suffix] = [cv2.imencode(suffix, image)[1].tobytes() for image in self.images]
        self.tub = write_tub(self.folder / "tub", self.images)
        self.archives = {}
        for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz")):
            with tarfile.open(self.folder / f"tub{suffix}", mode) as tar:
                tar.add(self.tub, "tub")
            self.archives[suffix] = (self.folder / f"tub{suffix}").read_bytes()
        self.tables = [write_table(self.folder / f"t{suffix}").read_bytes() for suffix in (".csv", ".jsonl")]
        self.heads = [
            self.films["h264"].read_bytes(),
            self.pictures[".jpg"][0],
            self.pictures[".png"][0],
            self.archives[".tar.gz"],
        ]


# --- damage ---


def flip(data: bytes, chance: random.Random, seeds: Seeds) -> bytes:
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        broken[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(broken)


def cut(data: bytes, chance: random.Random, seeds: Seeds) -> bytes:
    return data[: chance.choice((chance.randrange(len(data)), len(data) - 1 - chance.randrange(min(64, len(data)))))]


def behead(data: bytes, chance: random.Random, seeds: Seeds) -> bytes:
    length = chance.choice((4, 8, 16, 64, 512))
    return chance.choice(seeds.heads)[:length] + data[length:]


def blank(data: bytes, chance: random.Random, seeds: Seeds) -> bytes:
    length = chance.choice((16, 64, 512, 4096))
    at = chance.randrange(max(1, len(data) - length))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


DAMAGE: dict[str, Callable[[bytes, random.Random, Seeds], bytes]] = {
    "flipped": flip, "cut": cut, "beheaded": behead, "zeroed": blank,
}  # fmt: skip


# --- batches: a folder of broken files, one ingest ---


def make_batch(kind: str, folder: Path, count: int, seeds: Seeds, chance: random.Random) -> dict[str, str]:
    """Write `count` broken files of a kind as one source at `folder`; the damage by name of recording (of picture, for images)."""
    folder.mkdir(parents=True)
    done = {}
    for n in range(count):
        name, how = f"f{n:04d}", chance.choice(list(DAMAGE))
        damage = DAMAGE[how]
        if kind.startswith("mp4"):
            film = chance.choice(list(seeds.films))
            (folder / f"{film}-{name}.mp4").write_bytes(damage(seeds.films[film].read_bytes(), chance, seeds))
            name = f"{film}-{name}"
        elif kind in ("jpg", "png"):
            whole = seeds.pictures[f".{kind}"]
            (folder / f"{name}.{kind}").write_bytes(damage(whole[n % len(whole)], chance, seeds))
        elif kind == "tub folders":
            shutil.copytree(seeds.tub, folder / name)
            files = sorted(p for p in (folder / name).iterdir() if p.is_file()) * 2
            victim = chance.choice([*files, *sorted((folder / name / "images").iterdir())[:8]])
            victim.write_bytes(damage(victim.read_bytes(), chance, seeds))
            how = f"{how} {victim.suffix[1:]}"
        elif kind == "tub archives":
            suffix = chance.choice(list(seeds.archives))
            (folder / f"{name}{suffix}").write_bytes(damage(seeds.archives[suffix], chance, seeds))
        else:
            shutil.copy(seeds.short_film, folder / f"{name}.mp4")
            which = chance.randrange(2)
            (folder / f"{name}{('.csv', '.jsonl')[which]}").write_bytes(damage(seeds.tables[which], chance, seeds))
        done[name] = how
    return done


def host(source: Path, out: Path, kind: str, result: Path) -> None:
    """One `ingest`, in a process of its own: what it told, what it made, and the longest time without a sign."""
    signs = [time.monotonic()]
    told: dict[str, Any] = {"rejected": {}, "warnings": [], "frames": {}, "decoded": {}}
    decoder = "opencv" if kind == "mp4 by OpenCV" else None
    try:
        summary = ingest(
            source, out, height=32, width=64, fps=RATE, min_seconds=0, workers=2, limits=LIMITS, decoder=decoder,
            rate=RATE if kind in ("jpg", "png") else None, progress=lambda name, frames: signs.append(time.monotonic()),
        )  # fmt: skip
        told |= {"rejected": dict(summary.rejected), "warnings": summary.warnings}
        reel = Reel(out)
        for video in reel.videos:
            rows = reel.index[video.first : video.first + video.frames]
            name = video.name.rpartition("-")[0]
            there = told["frames"].setdefault(name, [])
            there += [[int(row["t_ns"]), int(row["crc32"])] for row in rows]
    except UserError as error:
        told["refused"] = str(error)
    signs.append(time.monotonic())
    if kind.startswith("mp4"):
        for name in told["frames"]:
            with decoding(decoder):
                images = [image for _, image in read_video(source / f"{name}.mp4")]
            told["decoded"][name] = [len(images), sum(image is None for image in images)]
    told["longest_s"] = float(np.diff(signs).max())
    result.write_text(json.dumps(told))


def run_host(*arguments: object) -> int:
    """The exit code of a host process; its traceback, if any, is shown."""
    return subprocess.run([sys.executable, __file__, "--host", *map(str, arguments)], check=False).returncode


@dataclass
class Count:
    """What became of the files of one kind."""

    files: int = 0
    rejected: int = 0
    cut: int = 0
    whole: int = 0
    same: int = 0
    changed: int = 0
    other_times: int = 0
    short_as_whole: int = 0
    host_crashes: int = 0
    hangs: int = 0
    timed_out: int = 0
    crashed_workers: int = 0
    longest_s: float = 0.0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)


def judge(
    kind: str, done: dict[str, str], told: dict[str, Any], cleans: dict[str, Any], count: Count, keep: Path
) -> None:
    """Add a batch to `count`."""
    count.longest_s = max(count.longest_s, told["longest_s"])
    count.hangs += told["longest_s"] > HANG_S
    for reason in told["rejected"].values():
        count.timed_out += "it was stopped" in reason
        count.crashed_workers += "decoder crash" in reason
    if kind in ("jpg", "png"):
        judge_pictures(done, told, cleans["f"], count)
        return
    cuts = {w.split(":")[0] for w in told["warnings"] if MISSING_NOTE in w or "in manifest.json but missing" in w}
    due = 8 if kind == "tables" else FRAMES
    for name, how in done.items():
        count.files += 1
        if (rows := told["frames"].get(name)) is None:
            count.rejected += 1
            continue
        there, whole = [crc for _, crc in rows], [crc for _, crc in cleans[name.rpartition("-")[0] or "f"]]
        lost = told["decoded"].get(name, [0, 0])[1]
        if cuts & {name, f"{name}.tar", f"{name}.tar.gz"}:
            count.cut += 1
            continue
        decoded = told["decoded"].get(name, [len(set(there) & set(whole)), 0])[0]
        count.whole += 1
        if there == whole:
            count.same += 1
        elif lost or (decoded if kind.startswith("mp4") else len(there)) < due:
            count.short_as_whole += 1
            shutil.copytree(keep, keep.with_name(f"{keep.name}-bad-{name}"), dirs_exist_ok=True)
            print(f"  SHORT AS WHOLE: {kind} {name} ({how}): {decoded} of {due} pictures, kept in {keep}-bad-{name}")
        elif set(there) <= set(whole):
            count.other_times += 1
        else:
            count.changed += 1


def judge_pictures(done: dict[str, str], told: dict[str, Any], clean: list[list[int]], count: Count) -> None:
    """The folder is one recording; its pictures are known by their times."""
    crc_at = {round(t * RATE / 1e9): crc for rows in told["frames"].values() for t, crc in rows}
    for n, how in enumerate(done.values()):
        count.files += 1
        if n not in crc_at:
            count.rejected += 1
            continue
        count.whole += 1
        same = crc_at[n] == clean[n % len(clean)][1]
        count.same += same
        count.short_as_whole += how == "cut" and not same
        count.changed += how != "cut" and not same


def clean_rows(kind: str, seeds: Seeds, folder: Path) -> dict[str, list[list[int]]]:
    """(time, crc32) of the reel's pictures of the unbroken files, by the first part of their names."""
    source = folder / "clean"
    source.mkdir(parents=True)
    if kind.startswith("mp4"):
        for name, film in seeds.films.items():
            shutil.copy(film, source / f"{name}.mp4")
    elif kind in ("jpg", "png"):
        for n, data in enumerate(seeds.pictures[f".{kind}"]):
            (source / f"f{n:04d}.{kind}").write_bytes(data)
    elif kind.startswith("tub"):
        shutil.copytree(seeds.tub, source / "f")
    else:
        shutil.copy(seeds.short_film, source / "f.mp4")
    assert run_host(source, folder / "clean-reel", kind, folder / "clean.json") == 0
    frames = json.loads((folder / "clean.json").read_text())["frames"]
    return frames if kind.startswith("mp4") else {"f": next(iter(frames.values()))}


def broken_files(files: int, seeds: Seeds, work: Path, seed: int) -> dict[str, Count]:
    chance, counts = random.Random(seed), {}
    for kind, share in SHARES.items():
        started, count = time.monotonic(), Count()
        cleans = clean_rows(kind, seeds, work / kind.replace(" ", "_"))
        left = max(1, round(files * share / sum(SHARES.values())))
        while left:
            size, batch = min(BATCH, left), work / kind.replace(" ", "_") / f"b{left}"
            left -= size
            done = make_batch(kind, batch, size, seeds, chance)
            result = batch.with_suffix(".json")
            code = run_host(batch, batch.with_suffix(".reel"), kind, result)
            if code or not result.exists():
                count.host_crashes += 1
                count.files += size
                print(f"  HOST CRASH: exit code {code} on {batch}")
                continue
            told = json.loads(result.read_text())
            judge(kind, done, told, cleans, count, batch)
            count.reasons.update(why(reason) for reason in told["rejected"].values())
            for path in (batch, batch.with_suffix(".reel")):
                shutil.rmtree(path, ignore_errors=True)
        count.seconds = time.monotonic() - started
        counts[kind] = count
        print(f"{kind}: {shown(count)}", flush=True)
    return counts


def why(reason: str) -> str:
    """A reason without its file and numbers."""
    words = reason.partition(": ")[2] or reason
    return "".join("#" if c.isdigit() else c for c in words)[:60]


def shown(count: Count) -> dict[str, Any]:
    return {k: round(v, 1) if isinstance(v, float) else v for k, v in vars(count).items() if k != "reasons"}


# --- killing ---


def killed_ingest(recordings: int, kills: int, images: list[np.ndarray], work: Path, seed: int) -> dict[str, Any]:
    """An ingest that is killed `kills` times with all its processes, against one that is not."""
    chance, source = random.Random(seed), work / "drives"
    source.mkdir(parents=True)
    for n in range(recordings):
        turned = images[n % len(images) :] + images[: n % len(images)]
        write_film(source / f"d{n:04d}.mp4", turned * 2)
    started = time.monotonic()
    assert run_host(source, work / "calm", "kill", work / "calm.json") == 0
    calm_s = time.monotonic() - started
    out, done_at, finished_early = work / "reel", [], 0
    arguments = [sys.executable, __file__, "--host", source, out, "kill", work / "killed.json"]
    while len(done_at) < kills:
        before, started = complete(out), time.monotonic()
        process = subprocess.Popen(list(map(str, arguments)), start_new_session=True)
        if chance.random() < 0.5:  # from the very start, or once it is at work
            moment = started + chance.uniform(0, 2.0)
        else:
            while complete(out) == before and process.poll() is None:
                time.sleep(0.01)
            moment = time.monotonic() + chance.uniform(0, 2.2 * calm_s / kills)
        try:
            process.wait(max(0.0, moment - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done_at.append(complete(out))
            continue
        assert process.returncode == 0 and out.exists(), f"ended by itself: {(work / 'killed.json').read_text()[:500]}"
        finished_early += 1  # it was done before this kill: begin anew
        shutil.rmtree(out)
    assert run_host(source, out, "kill", work / "killed.json") == 0
    same = contents(out) == contents(work / "calm")
    return {
        "recordings": recordings, "kills": kills, "undisturbed_s": round(calm_s, 1), "complete_at_each_kill": done_at,
        "begun_anew": finished_early, "byte_identical": same, "left_behind": (work / "reel.partial").exists(),
    }  # fmt: skip


def complete(out: Path) -> int:
    """How many recordings are complete of the reel that is being made."""
    return len(list(out.with_name(f"{out.name}.partial").glob("pieces/*.json")))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- report ---


COLUMNS = "files rejected cut whole same changed other_times short_as_whole host_crashes hangs".split()
PAGE = """# Broken files and killed ingests

`{command}` ({seeds}) on 2 shared cores, {wall_s:.0f} s.

{files} files were broken in four ways (bits flipped, cut short, the beginning of another kind of file put on, a block
zeroed) and given to `roadcast ingest`, up to 250 in one call.

| kind | {heads} |
|---|{rule}
{rows}

- **rejected**: refused, with the reason, in the summary. Of a folder of jpg or png each picture counts, and one that is
  refused cuts the recording there.
- **cut**: accepted, and the summary says how many pictures are missing or damaged.
- **whole**: accepted without a word. Of these **same** are, picture by picture, what the unbroken file gives; **other times**
  have all pictures but at damaged times; **changed** have all pictures, some of which are not what they were. H.264, HEVC
  and JPEG have no checksums: a flipped bit that is still good code is seen by no decoder. PNG and packed archives have.
- **short as whole**: accepted without a word though pictures are missing, or, for a jpg or png that was cut short, though its
  picture is not the original's.
- **host crashes**: the process that called `ingest` died or raised what is not a `UserError`. **hangs**: more than 10 s passed
  without a sign from any recording (the longest here: {longest_s:.1f} s). Workers ended for time: {timed_out}; workers that
  crashed: {crashed_workers}.

What a file cannot tell of itself cannot be held against it: an MPEG-TS, a raw stream, or a fragmented MP4 that ends early
between two packets, a table that ends early between two lines.

An ingest of {recordings} recordings was killed (SIGKILL, to all its processes) {kills} times at random moments and started
again each time. Recordings complete at each kill: {complete}. The finished reel is {identical} the undisturbed one.
"""


def page(result: dict[str, Any]) -> str:
    """The figures, as a page."""
    kinds = {**result["by_kind"], "**all**": result}
    rows = [f"| {kind} | " + " | ".join(str(count[name]) for name in COLUMNS) + " |" for kind, count in kinds.items()]
    return PAGE.format(
        **{key: result[key] for key in ("files", "wall_s", "longest_s", "timed_out", "crashed_workers", "command")},
        **{key: result["killed"][key] for key in ("recordings", "kills")},
        seeds="films, pictures and tubs cut from real driving" if result["real_data"] else "seeds from the built-in world",
        heads=" | ".join(name.replace("_", " ") for name in COLUMNS), rule="---:|" * len(COLUMNS), rows="\n".join(rows),
        complete=", ".join(map(str, result["killed"]["complete_at_each_kill"])),
        identical="byte-identical to" if result["killed"]["byte_identical"] else "DIFFERENT from",
    )  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--host"]:
        source, out, kind, result = sys.argv[2:]
        host(Path(source), Path(out), kind, Path(result))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="210 files and 3 kills in 30 recordings")
    parser.add_argument("--data", type=Path, help="folder of real recordings, with mp4/kart_dashcam.mp4")
    parser.add_argument("--files", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, help="write the figures there as a table")
    args = parser.parse_args()
    files, kills = args.files or (210 if args.quick else 10_000), args.kills or (3 if args.quick else 20)
    started = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="faults-"))
    (work / "seeds").mkdir()
    seeds = Seeds(work / "seeds", pictures(args.data, FRAMES, start=100))
    counts = broken_files(files, seeds, work, args.seed)
    killed = killed_ingest(30 if args.quick else 200, kills, seeds.images, work, args.seed)
    sums = {key: sum(getattr(c, key) for c in counts.values()) for key in shown(Count())}
    result = {
        **sums, "seconds": round(sums["seconds"], 1), "longest_s": round(max(c.longest_s for c in counts.values()), 2),
        "kills": killed["kills"], "byte_identical": killed["byte_identical"], "seed": args.seed,
        "real_data": bool(args.data and (args.data / "mp4").is_dir()), "wall_s": round(time.monotonic() - started, 1),
        "command": " ".join([
            "python benchmarks/ingest_faults.py", *["--quick"] * args.quick, *["--data FOLDER"] * bool(args.data),
            f"--seed {args.seed}",
        ]),
        "by_kind": {kind: shown(c) for kind, c in counts.items()}, "killed": killed,
    }  # fmt: skip
    if args.table:
        args.table.write_text(page(result))
    reasons = sum((c.reasons for c in counts.values()), Counter())
    for reason, n in reasons.most_common(40):
        print(f"{n:6d}  {reason}")
    if not sums["short_as_whole"] and not sums["host_crashes"]:
        shutil.rmtree(work)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
