"""What is there only when another package is installed: the modules of `roadcast.extras`, one a package."""

import importlib
from types import ModuleType

from roadcast.errors import UserError

EXTRAS = {
    "pyav": ("av", "video"),
    "video_writer": ("av", "video"),
    "h264": ("av", "video"),
    "torchcodec": ("torchcodec", "torchcodec"),
    "webrtc": ("aiortc", "rtc"),
    "grpc_server": ("grpc", "rpc"),
    "turbojpeg": ("simplejpeg", "fast"),
    "parquet": ("pyarrow", "tables"),
    "remote": ("fsspec", "stream"),
    "onnx": ("onnxruntime", "onnx"),
    "fp8": ("torchao", "fp8"),
    "optuna": ("optuna", "sweep"),
    "mlflow_store": ("mlflow", "mlflow"),
}
"""By module of `roadcast.extras`: the package it needs, and the extra of roadcast that installs it."""


def load_extra(name: str, purpose: str) -> ModuleType:
    """The module `roadcast.extras.NAME`; a `UserError` that tells how to install its package, needed for `purpose`, if it is missing."""
    package, extra = EXTRAS[name]
    try:
        return importlib.import_module(f"roadcast.extras.{name}")
    except ImportError as error:
        raise UserError(
            f"{purpose} needs {package} ({error}); install it with: pip install 'roadcast[{extra}]'"
        ) from None


def has_extra(name: str) -> bool:
    """Whether the package that `roadcast.extras.NAME` needs is installed and can be imported."""
    try:
        importlib.import_module(f"roadcast.extras.{name}")
    except ImportError:
        return False
    return True
