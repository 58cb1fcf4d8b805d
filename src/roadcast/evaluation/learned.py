"""Measures that look at frames with a network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from roadcast.data.reel.store import Reel
from roadcast.evaluation.extractors import lpips_network
from roadcast.evaluation.measures import Measure, Rows, each
from roadcast.evaluation.metrics.depth import depth_consistency, depth_flicker, depth_scale
from roadcast.evaluation.systems import BEFORE, Scene, Seen
from roadcast.perception.depth import DepthModel, load_depth


def lpips_measure(weights: Sequence[Path], device: str = "cpu") -> Measure:
    """LPIPS of every frame against the true one; `weights` as `extractors.lpips_network` takes them."""
    network, identity = lpips_network(weights, device)

    def features(frames_HHWC: Tensor) -> list[Tensor]:
        return network.features(frames_HHWC.to(device).float() / 127.5 - 1)

    @torch.inference_mode()
    def of(scene: Scene) -> dict[str, Rows]:
        values: dict[str, list[np.ndarray]] = {system: [] for system in scene.systems}
        for row, true in enumerate(scene.systems["real"].true_BHHWC):
            known = features(true)
            for system, seen in scene.systems.items():
                values[system].append(network.between(features(seen.compared_BHHWC[row]), known).cpu().numpy())
        return {system: [np.stack(rows)] for system, rows in values.items()}

    return Measure(("lpips",), of, identity)


def depth_measure(reel: Reel, split: str, weights: Path | None = None, device: str = "cpu") -> Measure:
    """How far depth, told of every frame alone, agrees from frame to frame: along the ego's motion where all recordings of the split
    have pose and calibration, else along the optical flow.

    weights  as `perception.depth.load_depth` takes them: None is the network that comes with roadcast
    """
    model = load_depth(weights, device)
    if located(reel, split):
        return Measure(("depth_consistency",), lambda scene: along_motion(model, reel, scene), model.identity)
    return Measure(("depth_flicker",), each(lambda seen: [along_flow(model, seen)]), model.identity)


def located(reel: Reel, split: str) -> bool:
    """Whether every recording of the split knows the ego's pose throughout and the lens of the first camera."""
    videos = [video for video in reel.videos if video.split == split]
    if "ego_pose" not in reel.signals or not all(lens(reel, number) for number in map(reel.videos.index, videos)):
        return False
    return all(np.isfinite(reel.signals["ego_pose"][v.first : v.first + v.frames]).all() for v in videos)


def lens(reel: Reel, number: int) -> dict | None:
    """Intrinsics and place of the first camera in recording `number`; None where either is unknown."""
    found = (reel.videos[number].calibration or {}).get(reel.cameras[0], {})
    return found if {"intrinsics", "to_ego"} <= found.keys() else None


def along_motion(model: DepthModel, reel: Reel, scene: Scene) -> dict[str, Rows]:
    """The depth consistency of each system under the true motion, of every frame with the one BEFORE frames earlier.

    From one frame to the next a car moves so little that a frozen picture is as consistent as a moving one (docs/results/depth.md). The
    scale of a clip is the one that suits its real video best.
    """
    depths = {system: model(seen.video_BFHWC).numpy() for system, seen in scene.systems.items()}
    values: dict[str, list[np.ndarray]] = {system: [] for system in depths}
    for row, (number, pose_F7) in enumerate(
        zip(scene.clip.video_B.tolist(), scene.pose_BF7.double().numpy(), strict=True)
    ):
        found = lens(reel, number)
        assert found is not None
        place = np.asarray(found["intrinsics"]), np.asarray(found["to_ego"])
        scale = depth_scale(depths["real"][row, ::BEFORE], pose_F7[::BEFORE], *place)
        for system, depth_BFHW in depths.items():
            values[system].append(apart(depth_BFHW[row], pose_F7, place, scale))
    return {system: [np.stack(rows)] for system, rows in values.items()}


def apart(depth_FHW: np.ndarray, pose_F7: np.ndarray, place: tuple[np.ndarray, np.ndarray], scale: float) -> np.ndarray:
    """`depth_consistency` of every frame from number BEFORE on with the one BEFORE frames earlier."""
    errors = np.zeros(len(depth_FHW))
    for first in range(BEFORE):
        every = slice(first, None, BEFORE)
        errors[every][1:] = depth_consistency(depth_FHW[every], pose_F7[every], *place, scale)
    return errors[BEFORE:]


def along_flow(model: DepthModel, seen: Seen) -> np.ndarray:
    """The depth flicker [B, horizon] of one system."""
    video = seen.after(1)
    pairs = zip(model(video).numpy(), video.cpu().numpy(), strict=True)
    return np.stack([np.nan_to_num(depth_flicker(depth, frames)) for depth, frames in pairs])
