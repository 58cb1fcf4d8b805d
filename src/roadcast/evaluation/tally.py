"""What is kept of an evaluation while its clips go by."""

from collections.abc import Sequence

import numpy as np

from roadcast.evaluation.extractors import Extractor
from roadcast.evaluation.measures import Measure
from roadcast.evaluation.metrics.drift import COLLAPSES, collapse
from roadcast.evaluation.metrics.feature_set import FeatureSet
from roadcast.evaluation.metrics.floors import SYSTEMS
from roadcast.evaluation.metrics.flow import lateral_motion, of_each
from roadcast.evaluation.pictures import Gallery
from roadcast.evaluation.protocol import Protocol
from roadcast.evaluation.systems import Scene

COLLAPSING = ("model", "copy")
"""Systems that may collapse."""


class Tally:
    """Scores of every frame, features, collapses, and a few clips' pictures, of all systems.

    scores     [metric][system] array [clip, horizon frame]
    features   [extractor][system] set of features
    collapsed  [system][kind], a bool a clip
    lateral    horizontal flow of the real clips, context included, an array [F - 1] each
    commands, known  of the clips, [B, F, A] a batch
    """

    def __init__(self, protocol: Protocol, measures: Sequence[Measure], extractors: Sequence[Extractor]):
        size = (len(protocol.clips), protocol.horizon)
        self.measures, self.extractors = measures, extractors
        self.scores = {name: {s: np.zeros(size) for s in SYSTEMS} for measure in measures for name in measure.names}
        self.features = {e.name: {s: FeatureSet(1 + (s == "real"), protocol.seed) for s in SYSTEMS} for e in extractors}
        self.collapsed: dict[str, dict[str, list[bool]]] = {s: {kind: [] for kind in COLLAPSES} for s in COLLAPSING}
        self.lateral: list[np.ndarray] = []
        self.commands: list[np.ndarray] = []
        self.known: list[np.ndarray] = []
        self.gallery = Gallery(len(protocol.clips))

    def add(self, indices: Sequence[int], scene: Scene) -> None:
        """Measure the clips at these places of the protocol's list, which follow one another."""
        rows = slice(indices[0], indices[-1] + 1)
        for measure in self.measures:
            for system, measured in measure.of(scene).items():
                for name, values in zip(measure.names, measured, strict=True):
                    self.scores[name][system][rows] = values
        for system, seen in scene.systems.items():
            for extractor in self.extractors:
                self.features[extractor.name][system].add(extractor.features(seen.shown_BHHWC), len(indices))
        from_context = {s: seen.after(1).cpu().numpy() for s, seen in scene.systems.items()}
        for system, by_kind in self.collapsed.items():
            for video, real in zip(from_context[system], from_context["real"], strict=True):
                for kind, found in collapse(video, real).items():
                    by_kind[kind].append(found)
        psnr = self.scores["psnr"]
        lost = (psnr["reconstruction"][rows] - psnr["model"][rows]).mean(axis=1)
        for i, clip in enumerate(indices):
            self.gallery.add(clip, float(lost[i]), {s: video[i] for s, video in from_context.items()})
        assert scene.clip.frames_BFHWC is not None
        self.lateral += of_each(lateral_motion, scene.clip.frames_BFHWC.numpy())
        self.commands.append(scene.clip.actions_BFA.numpy())
        self.known.append(scene.clip.known_BFA.numpy())
