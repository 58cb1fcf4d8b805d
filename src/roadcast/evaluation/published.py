"""Scores of driving world models on nuScenes as others published them, and the protocols of two papers as presets.

**Scores of another protocol do not compare with ours, nor with one another**: they differ in clips, frames, rate, size, I3D weights
and in how pictures come to a square, and most papers state only some of these. The table is for reading beside our own, never
for ranking with them; for the same reason `roadcast compare` refuses evaluations of two protocols.
"""

from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True)
class Published:
    """One published score on the nuScenes validation split. None is what the source does not state; nothing is inferred.

    fvd, fid  lower is better; FVD is Unterthiner et al. (2019), FID Heusel et al. (2017)
    clips     videos of each of the two sets
    frames    of one video, given and imagined; context, those given
    fps       frames a second
    size      height and width that the model makes, in pixels
    note      how it was measured, and by whom if not by the model's authors
    source    where it was read: "as quoted by" where that is not the model's own paper
    year      of the source, the quoted one where it is quoted
    """

    model: str
    _: KW_ONLY
    fvd: float | None
    fid: float | None
    clips: int | None = None
    frames: int | None = None
    context: int | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None
    note: str = ""
    source: str
    year: int


@dataclass(frozen=True)
class Preset:
    """The protocol of a paper in the words of ours: split, number of clips, frames given, frames imagined, frames a second.

    The number of clips is the paper's, the clips are not: ours are spread evenly over the split (`protocol.make_protocol`). So a score
    under a preset shares the paper's length, rate and sample size, and is still of another protocol.
    """

    split: str
    clips: int
    context: int
    horizon: int
    fps: float
    note: str
    source: str

    @property
    def frames(self) -> int:
        """Frames of one clip, given and imagined."""
        return self.context + self.horizon


PROTOCOLS = {
    "nuscenes-25": Preset(
        "val", 5369, 1, 24, 10.0,
        "Vista's. Its FVD is of all 25 frames, the given one included, its FID of the 24 imagined; ours leave the context out of both. "
        "No action is given.",
        "arXiv:2405.17398, section 4.1 and Table 1; https://github.com/OpenDriveLab/Vista/issues/9 and /37",
    ),
    "nuscenes-1646": Preset(
        "val", 1646, 10, 50, 10.0,
        "Epona's. The paper states clips and context; horizon and rate are those of the released configuration, whose clips of 75 frames "
        "start every 15. Of 150 scenes of 20 s, 1,646 such clips can only be had at the camera's 12 Hz.",
        "arXiv:2506.24113, section 4.1; https://github.com/Kevin-thu/Epona at 651a7c7 and /issues/16",
    ),
}  # fmt: skip

PUBLISHED = [
    # Front camera, Vista's 5,369 clips
    Published(
        "Vista", fvd=89.4, fid=6.9, clips=5369, frames=25, context=1, fps=10, size=(576, 1024),
        note="no actions; FVD of all 25 frames at 224 x 224 by LVDM's code, FID of the 24 imagined, cropped to 256 x 448",
        source="arXiv:2405.17398, Table 2 and section 4.1; https://github.com/OpenDriveLab/Vista/issues/9 and /37", year=2024,
    ),
    Published(
        "Vista", fvd=249.74, fid=7.2, clips=5369, frames=25, size=(576, 1024),
        note="by a user, with LVDM's method; 160.13 of 16 frames",
        source="https://github.com/OpenDriveLab/Vista/issues/60", year=2025,
    ),
    Published(
        "MaskGWM-long", fvd=92.5, fid=5.6, clips=5369, frames=25, context=1, size=(288, 512), note="in Vista's way",
        source="arXiv:2502.11663, Table 1 and section 7.3", year=2025,
    ),
    Published(
        "MaskGWM-long", fvd=59.4, fid=4.0, clips=5369, frames=25, context=1, size=(288, 512), note="the same, trained without actions",
        source="arXiv:2502.11663, Table 1 and section 7.3", year=2025,
    ),
    Published(
        "UniFuture", fvd=99.9, fid=11.8, size=(320, 576),
        note="the authors get 104.6 and 111.1 with the same weights on other GPUs; their released configuration leaves the given frame out",
        source="arXiv:2503.13587, as quoted by https://github.com/dk-liang/UniFuture/issues/8", year=2025,
    ),
    Published(
        "UniFuture", fvd=168.5, fid=12.65, clips=5369, size=(320, 576),
        note="by a user, released weights and code, RTX 3090; 181 on another accelerator",
        source="https://github.com/dk-liang/UniFuture/issues/8", year=2026,
    ),
    # Front camera, other clips or unstated ones
    Published(
        "Epona", fvd=82.8, fid=7.5, clips=1646, context=10, size=(512, 1024), note="frame by frame; how many is not stated",
        source="arXiv:2506.24113, Table 1 and section 4.1", year=2025,
    ),
    Published(
        "DrivingWorld", fvd=90.9, fid=7.4, size=(512, 1024),
        source="arXiv:2412.19505, as quoted by arXiv:2506.24113, Table 1, and arXiv:2510.18313, Table 2; size by arXiv:2510.16732",
        year=2024,
    ),
    Published(
        "GEM", fvd=158.5, fid=10.5, size=(576, 1024),
        note="its released code takes 25 frames, cropped to 256 x 448 and then squashed to 224 x 224",
        source="arXiv:2412.11198, as quoted by arXiv:2510.16732 (FVD, FID) and arXiv:2505.17685, Table 3 (FID)", year=2024,
    ),
    Published(
        "GenAD (OpenDV)", fvd=184.0, fid=15.4, fps=2, size=(256, 448),
        source="arXiv:2403.09630, as quoted by arXiv:2405.17398, Tables 1 and 2, and arXiv:2502.11663, Table 1", year=2024,
    ),
    Published(
        "ADriver-I", fvd=97.0, fid=5.5, context=4, fps=2, size=(256, 512), note="four frames from four",
        source="arXiv:2311.13549, Table 6, as quoted by two independent reading notes; rate and size by arXiv:2405.17398, Table 1",
        year=2023,
    ),
    Published(
        "DriveDreamer", fvd=340.8, fid=14.9, fps=12, note="given driving actions; frames brought to 256 x 448",
        source="arXiv:2309.09777, Table 2; rate by arXiv:2405.17398, Table 1", year=2023,
    ),
    Published(
        "DriveDreamer", fvd=452.0, fid=52.6, fps=12, size=(128, 192),
        note="what most tables carry; not in the version of its paper that was read",
        source="as quoted by arXiv:2311.17918, Table 1; rate and size by arXiv:2405.17398, Table 1", year=2023,
    ),
    Published(
        "DriveGAN", fvd=390.8, fid=27.8, note="by DriveDreamer's authors, who trained it on nuScenes",
        source="arXiv:2309.09777, Table 2", year=2023,
    ),
    Published(
        "DriveGAN", fvd=502.3, fid=73.4, note="what most tables carry; who measured it is not stated",
        source="as quoted by arXiv:2311.17918, Table 1, and arXiv:2405.17398, Table 2", year=2023,
    ),
    Published(
        "DrivingGPT", fvd=142.6, fid=12.8, fps=2,
        note="in tables of nuScenes, though arXiv:2603.27287, Table 2, gives its data as NAVSIM, 4 s at 2 Hz",
        source="arXiv:2412.18607, as quoted by arXiv:2512.23421, Table 1, and arXiv:2510.18313, Table 2", year=2024,
    ),
    Published("DriveLaW", fvd=81.3, fid=4.6, source="arXiv:2512.23421, Table 1", year=2025),
    Published(
        "ReWorld", fvd=61.9, fid=4.4, note="self-guidance of 1.4; FVD 78.9 without", source="arXiv:2606.27504, Table 1", year=2026
    ),
    # Several cameras, most of them given the layout of every future frame: another task
    Published(
        "Drive-WM", fvd=122.7, fid=15.8, fps=2, size=(192, 384), note="six cameras, layouts given",
        source="arXiv:2311.17918, Table 1; rate by arXiv:2405.17398, Table 1", year=2023,
    ),
    Published(
        "WoVoGen", fvd=417.7, fid=27.6, fps=2, size=(256, 448), note="several cameras",
        source="arXiv:2312.02934, as quoted by arXiv:2405.17398, Tables 1 and 2; rate by arXiv:2603.27287, Table 2", year=2023,
    ),
    Published(
        "Panacea", fvd=139.0, fid=16.96, size=(256, 512), note="six cameras, layouts given",
        source="arXiv:2311.16813, as quoted by arXiv:2510.18313, Table 2; size by arXiv:2411.13807", year=2023,
    ),
    Published(
        "DriveDreamer-2", fvd=55.7, fid=11.2, size=(256, 448), note="six cameras, layouts given",
        source="https://github.com/f1yfisher/DriveDreamer2; size as quoted by arXiv:2510.16732", year=2024,
    ),
    Published(
        "MagicDrive-V2", fvd=94.84, fid=20.91, size=(848, 1600),
        note="six cameras, layouts given; the short side brought to 212 pixels",
        source="arXiv:2411.13807, as quoted by https://github.com/flymin/MagicDrive-V2/issues/61 and arXiv:2510.18313, Table 2", year=2024,
    ),
    Published(
        "MagicDrive-V2", fvd=167.27, fid=None, size=(848, 1600),
        note="by a user, released weights; the short side brought to 224 pixels, and with 212 as published",
        source="https://github.com/flymin/MagicDrive-V2/issues/61", year=2025,
    ),
    Published(
        "MaskGWM-mview", fvd=65.4, fid=8.9, size=(288, 512), note="six cameras, no layouts; one video a scene and camera",
        source="arXiv:2502.11663, Table 1 and section 7.3", year=2025,
    ),
    Published(
        "OmniNWM", fvd=23.63, fid=5.45, frames=17, size=(224, 400), note="six cameras",
        source="arXiv:2510.18313, Table 2 and section 4.2", year=2025,
    ),
]  # fmt: skip


def published_table() -> str:
    """PUBLISHED as Markdown, in its order, an empty cell for what is not stated: the table of docs/published.md."""
    lines = [
        "| model | FVD | FID | clips | frames | given | rate | size | measured | read in | year |",
        "|---|---:|---:|---:|---:|---:|---:|---|---|---|---|",
    ]
    for row in PUBLISHED:
        numbers = [str(x) if x is not None else "" for x in (row.fvd, row.fid, row.clips, row.frames, row.context)]
        rate = f"{row.fps:g} Hz" if row.fps is not None else ""
        size = "{} x {}".format(*row.size) if row.size is not None else ""
        cells = (row.model, *numbers, rate, size, row.note, row.source, str(row.year))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
