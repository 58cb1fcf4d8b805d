"""`roadcast ingest`."""

from pathlib import Path
from typing import Literal

from roadcast.cli.console import progress, say, show_facts, size
from roadcast.data.intake.limits import DEFAULT, Limits
from roadcast.presets import preset_config


def ingest(
    source: str,
    out: Path,
    /,
    preset: str = "tiny",
    height: int | None = None,
    width: int | None = None,
    fps: float | None = None,
    crop: Literal["center", "bottom", "top"] = "center",
    split: Literal["train", "val", "test"] | None = None,
    max_gap: float | None = None,
    min_seconds: float = 2.0,
    quality: int = 95,
    cameras: tuple[str, ...] = (),
    sensors: tuple[str, ...] | None = None,
    append: bool = False,
    rate: float | None = None,
    signals: Path | None = None,
    invert: tuple[str, ...] = (),
    workers: int | None = None,
    decoder: Literal["pyav", "torchcodec", "opencv"] | None = None,
    limits: Limits = DEFAULT,
) -> None:
    """Turn raw recordings into a reel, the one format that training and evaluation read.

    Examples:
      roadcast ingest drives/ reels/mine --preset tiny --crop bottom
      roadcast ingest tub.tar.gz reels/track --height 64 --width 128 --fps 20
      roadcast ingest clip.mp4 reels/clip --signals clip.csv
      roadcast ingest toyroad:recordings=40,frames=200,seed=0 reels/toy
      roadcast ingest kitti/2011_09_26 reels/kitti --height 144 --width 480 --fps 10 --cameras front --sensors lidar
      roadcast ingest more_drives/ reels/mine --preset tiny --crop bottom --append

    Frames are brought to a constant rate by their times, cropped to the aspect, and resized. Recordings, never frames,
    are divided into train, val and test. A killed ingest goes on when the same command is given again.

    Args:
        source: A video, a folder of videos or of images, a data set (nuScenes, Waymo, KITTI raw, comma2k19, CARLA, LeRobot,
            RADIATE, donkeycar tubs), toyroad:name=value,..., or a source of your own, module:Class:name=value,...
        out: Folder of the new reel.
        preset: Takes height, width and fps from this preset where they are not given: tiny, small, base, large.
        height: Pixels; a multiple of the tokenizer's stride (16 in every preset but large: 32).
        width: Pixels; likewise.
        fps: Frames a second of the reel.
        crop: Which part stays when pictures are too tall for the aspect.
        split: Put every recording into this split instead of dividing them.
        max_gap: Seconds without a frame beyond which a recording is cut in two; 0.3, or 2.5 usual steps if they are longer.
        min_seconds: Shorter recordings are dropped, with a count below.
        quality: JPEG quality, 1 to 100.
        cameras: Only these cameras, in this order; all when empty.
        sensors: Only these sensors besides cameras, such as lidar; all when not given, `--sensors` alone takes none.
        append: Add to the reel that is there; it must have the same size, rate, cameras and quality.
        rate: Frames a second of the source, for raw streams and images that carry no times.
        invert: Controls whose sign is the other way round in this source, such as steer.
        workers: Processes, each with one recording at a time; as many as there are cores up to 8. With 0 there is none beside
            the command's own, and nothing that can be ended when a file makes it hang or crash.
        decoder: Of videos; that with which the reel was begun, else the first of these that is installed.
        limits: What one recording may take before it is given up.
        signals: A .csv or .jsonl of controls over time, for one video or one folder of images.
    """
    from roadcast.data.ingest import ingest as make_reel

    data = preset_config(preset).data
    with progress() as show:
        frames: dict[str, int] = {}

        def count(recording: str, so_far: int) -> None:
            frames[recording] = so_far
            show("frames", sum(frames.values()), None)

        summary = make_reel(
            source, out, height=height or data.height, width=width or data.width, fps=fps or data.fps, crop=crop,
            quality=quality, split=split, max_gap=max_gap, min_seconds=min_seconds, cameras=cameras or None,
            sensors=sensors, append=append, rate=rate, signals=signals, invert=invert, workers=workers,
            decoder=decoder, limits=limits, progress=count,
        )  # fmt: skip
    for name, reason in summary.rejected:
        say(f"rejected {name}: {reason}")
    for warning in summary.warnings:
        say(f"note: {warning}")
    if summary.already_done:
        say(f"{out} was made by this very command before; nothing to do")
    show_facts(
        {
            "reel": str(out),
            "recordings": f"{summary.recordings} (" + ", ".join(f"{n} {s}" for s, n in summary.splits.items()) + ")",
            "frames": f"{summary.frames} = {summary.seconds:.0f} s at {summary.fps:g} a second",
            "repeated": f"{summary.repeated} frames show the picture of the one before",
            "dropped": ", ".join(f"{n} {reason}" for reason, n in summary.dropped.items()) or "nothing",
            "storage": f"{size(summary.bytes_jpeg)} of pictures, {summary.storage_ratio:.1f} times smaller than raw RGB"
            + (f"; {size(summary.bytes_sensors)} of sensors" if summary.bytes_sensors else ""),
        }
    )
