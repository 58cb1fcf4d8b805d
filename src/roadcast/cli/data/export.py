"""`roadcast data export`."""

from pathlib import Path

from roadcast.cli.console import say


def export(reel: Path, out: Path, /, crf: int = 18) -> None:
    """Write a reel as a LeRobot v3.0 dataset, one recording an episode, its pictures as H.264.

    Examples:
      roadcast data export reels/mine lerobot/mine

    Sensors besides cameras and calibrations are left out. Needs roadcast[video,tables].

    Args:
        reel: Folder of the reel.
        out: Folder of the new dataset.
        crf: Constant rate factor of H.264: 0 loses least, 51 most.
    """
    from roadcast.data.export import export_lerobot

    say(f"{export_lerobot(reel, out, crf)}: written")
