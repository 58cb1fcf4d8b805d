"""What JPEG quality costs: how many times smaller than raw, at what loss of picture, and what that loss does to a tokenizer.

    python benchmarks/storage.py [--quick] [--data FOLDER] [--tokenizer] [--table FILE]

For every recording below --data (and the built-in world): pictures at their own size and at 144x256, coded at several
qualities; ratio = raw bytes / JPEG bytes, PSNR against the raw pictures. With --tokenizer, the tokenizer of `tiny` is trained
from one seed on the same frames kept at each quality, and judged on raw frames it has not seen.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from roadcast.config import override
from roadcast.data.ingest import ingest
from roadcast.data.intake.fit import fit
from roadcast.data.loading.loader import read_clips
from roadcast.data.loading.sampler import ClipTable
from roadcast.data.reel.store import Reel
from roadcast.data.sources.base import VIDEO_SUFFIXES
from roadcast.data.sources.open import open_source
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.presets import preset_config
from roadcast.training.run import train

QUALITIES = (100, 95, 90, 85, 80, 70)
SEED_RATIO = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few frames, under a minute")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--tokenizer", action="store_true", help="train a tokenizer on each quality too (half an hour)")
    parser.add_argument("--steps", type=int, default=400, help="of the tokenizer's training")
    parser.add_argument("--table", type=Path, help="write the figures as tables to this Markdown file")
    options = parser.parse_args()
    frames = 10 if options.quick else 60
    figures: dict[str, dict[str, dict[int, tuple[float, float]]]] = {}
    for name, address in addresses(options.data).items():
        try:
            pictures = list(some_frames(address, frames))
        except UserError as error:
            print(f"{name}: left out: {error}", flush=True)
            continue
        sizes = {"own size": pictures, "144x256": [fit(picture, 144, 256, "center") for picture in pictures]}
        figures[name] = {
            f"{p[0].shape[0]}x{p[0].shape[1]}" if size == "own size" else size: {q: coded(p, q) for q in QUALITIES}
            for size, p in sizes.items()
        }
        told = "; ".join(f"{s}: {r[95][0]:.1f}x at {r[95][1]:.1f} dB" for s, r in figures[name].items())
        print(f"{name}: quality 95: {told}", flush=True)
    judged = tokenizers(options.data, options.steps) if options.tokenizer else {}
    if options.table:
        options.table.write_text(tables(figures, judged))
    ratios = {name: round(rows["144x256"][95][0], 2) for name, rows in figures.items()}
    tokenizer = {str(q): round(value, 2) for q, value in judged.items()}
    print(json.dumps({"ratio_95_at_144x256": ratios, "tokenizer_psnr_db": tokenizer}))


def addresses(data: Path) -> dict[str, str]:
    """Every recording at hand, by name."""
    found = {"toyroad": "toyroad:recordings=3,frames=40,height=144,width=256"}
    found |= {f"donkey {p.name.partition('.')[0]}": str(p) for p in sorted(data.glob("donkey/*.tar.gz"))}
    for name in ("kitti", "nuscenes", "radiate", "carla"):
        if (data / name).is_dir():
            found[name] = str(data / name)
    videos = [p for p in sorted(data.glob("mp4/*")) if p.suffix.lower() in VIDEO_SUFFIXES - {".hevc"}]
    return found | {f"mp4 {p.stem}": str(p) for p in videos}


def some_frames(address: str, count: int) -> Iterator[np.ndarray]:
    """About `count` pictures of the first camera, evenly from the first 10 `count` of the recordings."""
    taken = 0
    for recording in open_source(address).recordings():
        for n, (_, images) in enumerate(recording.frames()):
            if images is not None and n % 10 == 0:
                yield images[0] if isinstance(images, tuple) else images
                taken += 1
            if taken == count:
                return
    if not taken:
        raise UserError(f"{address}: gave no picture")


def coded(pictures: list[np.ndarray], quality: int) -> tuple[float, float]:
    """(raw bytes / JPEG bytes, PSNR in dB) of the pictures at a quality."""
    raw = size = 0
    error = 0.0
    for picture in pictures:
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        error += float(np.square(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) - bgr).sum())
        raw, size = raw + picture.size, size + data.size
    return raw / size, 10 * np.log10(255**2 * raw / max(error, 1e-9))


def tokenizers(data: Path, steps: int) -> dict[int, float]:
    """By quality, PSNR in dB on raw frames of val of the `tiny` tokenizer trained on frames kept at that quality."""
    tub = data / "donkey" / "track_a.tar.gz"
    source = str(tub) if tub.exists() else "toyroad:recordings=20,frames=100"
    judged = {}
    with tempfile.TemporaryDirectory() as folder:
        reels = {}
        for quality in QUALITIES:
            reels[quality] = Path(folder) / f"reel{quality}"
            ingest(source, reels[quality], height=64, width=128, fps=20, crop="bottom", quality=quality)
        raw = Reel(reels[100])
        table = ClipTable.of(raw.videos, "val", 4)
        places = [table.find(clip) for clip in np.linspace(0, len(table) - 1, 48, dtype=int)]
        truth = read_clips(raw, places, 4, ()).frames_BFHWC
        assert truth is not None
        for quality, path in reels.items():
            config = override(preset_config("tiny"), [f"train.tokenizer.steps={steps}", f'data.reel="{path}"'])
            config.train = {"tokenizer": config.train["tokenizer"]}
            world = World.load(train(config, Path(folder) / f"run{quality}", report=lambda *_: None))
            with torch.no_grad():
                made = torch.cat([world.reconstruct(clips) for clips in truth.split(8)])
            judged[quality] = 10 * float(np.log10(255**2 / (made.float() - truth.float()).square().mean()))
            print(f"tokenizer on quality {quality}: {judged[quality]:.2f} dB on raw frames", flush=True)
    return judged


def tables(figures: dict, judged: dict[int, float]) -> str:
    heads = "".join(f" {q} |" for q in QUALITIES)
    lines = [f"| recording | size |{heads} 10x from quality |", "|---|---|" + "---|" * (len(QUALITIES) + 1)]
    for name, sizes in figures.items():
        for size, rows in sizes.items():
            cells = "".join(f" {rows[q][0]:.1f}x, {rows[q][1]:.1f} dB |" for q in QUALITIES)
            reached = next((str(q) for q in QUALITIES if rows[q][0] >= SEED_RATIO), f"below {QUALITIES[-1]}")
            lines.append(f"| {name} | {size} |{cells} {reached} |")
    if judged:
        lines += ["", f"| tokenizer trained on quality |{heads}", "|---|" + "---|" * len(QUALITIES)]
        lines.append("| PSNR on raw frames, dB |" + "".join(f" {judged[q]:.2f} |" for q in QUALITIES))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
