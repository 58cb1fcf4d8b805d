"""The page on augmentation: its table is whole, and its example runs."""

import re
from pathlib import Path

import numpy as np
import torch

from roadcast.data.augment import AUGMENTATIONS, Augment

PAGE = (Path(__file__).parents[3] / "docs" / "augmentation.md").read_text()


def test_the_table_names_every_augmentation_and_its_number():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE, re.MULTILINE))
    assert rows.keys() == AUGMENTATIONS.keys()
    for name, cls in AUGMENTATIONS.items():
        assert ("every clip" in rows[name]) == cls.always, name
        assert ("to 0.9" in rows[name]) == (cls.limit == 0.9), name


def test_the_example_is_an_augmentation(clips, scene):
    example = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[-1]
    try:
        exec(example, {"__name__": "dusk"})
        clip = clips(np.broadcast_to(scene(), (3, 2, 48, 64, 3)).copy())
        made = Augment({"dusk": 1.0}, 0)(clip).frames_BFHWC
        assert made is not None and clip.frames_BFHWC is not None and made.dtype == torch.uint8
        share = made.float().mean(dim=(1, 2, 3, 4)) / clip.frames_BFHWC.float().mean(dim=(1, 2, 3, 4))
        assert ((share > 0.2) & (share < 0.7)).all() and len(set(share.tolist())) == 3
    finally:
        AUGMENTATIONS.pop("dusk", None)
