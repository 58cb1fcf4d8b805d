r"""LPIPS as a loss, with weights from a file, which are another project's and do not come with roadcast.

With `pip install lpips safetensors`, once, for `vgg` or `alex`:

    import lpips, re, safetensors.torch
    state = lpips.LPIPS(net="vgg").state_dict()
    state = {name: tensor.contiguous() for name, tensor in state.items() if re.match(r"net\.|lin\d", name)}
    safetensors.torch.save_file(state, "lpips_vgg.safetensors")

and then `tokenizer.lpips = "lpips_vgg.safetensors"` beside the objective's option `lpips`.
"""

from pathlib import Path

import torch

from roadcast.errors import UserError
from roadcast.nn.lpips import LPIPS
from roadcast.safetensors import load_tensors
from roadcast.tokenizer.losses import PictureLoss


def lpips_loss(file: str, device: torch.device) -> PictureLoss:
    """`mean LPIPS(made, true)` of images [B, F, H, W, 3] in [-1, 1], its weights read from `file` and never trained.

    Raises `UserError` when no file is named, it cannot be read, or other weights are in it.
    """
    if not file:
        raise UserError(
            "option lpips needs weights and tokenizer.lpips is empty; name a safetensors file "
            "(roadcast/tokenizer/perceptual.py says how to make one), or set the option to 0"
        )
    try:
        lpips = LPIPS.from_tensors(load_tensors(Path(file))).to(device)
    except ValueError as error:
        raise UserError(
            f"tokenizer.lpips = {file!r}: {error}; save them anew as roadcast/tokenizer/perceptual.py says"
        ) from None
    return lambda made, true: lpips(made, true).mean()
