"""`roadcast export`."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from roadcast.cli.console import say, show_facts, size
from roadcast.cli.device import checked
from roadcast.cli.folders import check_free, world_folder
from roadcast.errors import UserError
from roadcast.files import replacing
from roadcast.optional import load_extra


def export(
    world: Path,
    /,
    out: Path,
    format: Literal["aoti", "onnx", "all"] = "aoti",
    steps: int | None = None,
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    device: str = "cpu",
) -> None:
    """Turn a world into files that run without roadcast's model code.

    Examples:
      roadcast export runs/mine --out exported
      roadcast export runs/mine --out exported --steps 1 --precision float32
      roadcast export runs/mine --out exported --format onnx

    aoti writes the driving step as machine code for this kind of machine (AOTInductor), which takes some minutes, with
    the scenes to start from; onnx the tokenizer, whose encoder and decoder must agree with PyTorch in ONNX Runtime.

    Args:
        world: A run's folder, or a world's.
        out: The folder to write; it must be empty or not there yet.
        format: aoti, onnx, or all of both.
        steps: Network passes a frame, of aoti; fewer are faster. The world's own number when not given.
        precision: Number format of the networks, of aoti; auto is float32 (bfloat16 on a CPU with AMX), and measured on a GPU.
        device: Where the step is to run, of aoti: cpu, cuda, cuda:1. The tokenizer's ONNX files run anywhere.
    """
    check_free(out)
    if steps is not None and steps < 1:
        raise UserError(f"--steps {steps}: give at least 1")
    folder = world_folder(world)
    onnx = load_extra("onnx", "exporting to ONNX") if format != "aoti" else None

    from roadcast.flow.world import World
    from roadcast.serving.export import export as export_session
    from roadcast.serving.session import ModelSession

    with replacing(out) as beside, quiet():
        beside.mkdir()
        if onnx:
            model = World.load(folder)
            onnx.export_tokenizer(model.tokenizer, beside, model.height, model.width)
        if format != "onnx":
            say("compiling, which takes some minutes")
            export_session(ModelSession.open(folder, steps, checked(device), precision=precision), beside)
    say(f"{out}: docs/export.md tells how each file is run")
    show_facts({file.name: size(file.stat().st_size) for file in sorted(out.iterdir())}, indent="  ")


@contextmanager
def quiet() -> Iterator[None]:
    """Without what PyTorch's exporters say of PyTorch itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
