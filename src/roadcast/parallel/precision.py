"""The number format of a run, and what this machine can do, by measuring it: its fastest format, products and bytes a second.

Neither its name nor its flags tell: a CPU without units for bfloat16 runs a product in bfloat16 ten to hundreds of times slower
than in float32, and takes it without a warning.

All times are the best of several runs, in as many threads as PyTorch is set to use: what the machine can do, not what it did
while something else ran.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F

Device = torch.device | str

FORMATS = (torch.float32, torch.bfloat16, torch.float16)  # by range, the widest first
FEED_FORWARD = (144, 512, 2752)  # tokens, width, inner width: the dynamics of "small" on one frame
GLANCE = (
    64,
    256,
    256,
)  # a product to judge by whether a larger one is worth its time; of a smaller one, what is timed is the call
HOPELESS = 2.0  # times slower at a glance
GAIN = 1.1  # times faster that pays for a narrower format
LARGEST_ERROR = 0.01


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "fp8": torch.bfloat16}


def dtype_for(precision: str, device: Device) -> torch.dtype:
    """The format that products are computed in under compute.precision; around eight-bit layers it is bfloat16.

    "auto" is float32 on a CPU: where its units for bfloat16 make a product fast, what casting costs around it eats the gain (LOG.md).
    On a GPU it is measured, by each process for itself: where there are several, let all take what the first one found.
    """
    if precision == "auto":
        return torch.float32 if torch.device(device).type == "cpu" else fastest_precision(device)
    return DTYPES[precision]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Products in `dtype` of weights that stay float32 (Micikevicius et al. 2018, section 3.1)."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def fastest_precision(device: Device) -> torch.dtype:
    """float32, bfloat16 or float16: the format in which the feed-forward product of the dynamics runs fastest on `device`.

    bfloat16 and float16 count where their product is within 1 % (root mean square) of the exact one, for inputs of unit variance
    as the norms leave them; it is 0.3 % and 0.03 % where rounding is all that is lost. Between two, the narrower range must be a
    tenth faster. Takes less than 0.3 s: a format that takes twice as long as float32 for a tiny product is not tried on a large.
    """
    best, best_s = torch.float32, product_seconds(device, torch.float32, *FEED_FORWARD)
    glance_s = product_seconds(device, torch.float32, *GLANCE)
    for dtype in FORMATS[1:]:
        if product_seconds(device, dtype, *GLANCE) > HOPELESS * glance_s:
            continue
        if product_error(device, dtype) > LARGEST_ERROR:
            continue
        seconds = product_seconds(device, dtype, *FEED_FORWARD)
        if GAIN * seconds < best_s:
            best, best_s = dtype, seconds
    return best


def measure_matmul(device: Device, dtype: torch.dtype) -> float:
    """Most floating-point operations a second (a product of n^3 is 2 n^3) that square products reach on `device`.

    From n = 64 the size doubles, up to 8192, until 0.2 s are over or the next would take longer: on a CPU the best size stays in
    its caches, on a GPU it is the one that fills all units. Takes less than a second, however slow the format.
    """
    best, n, begun = 0.0, 64, time.perf_counter()
    while True:
        seconds = product_seconds(device, dtype, n, n, n)
        best = max(best, 2 * n**3 / seconds)
        if n == 8192 or time.perf_counter() - begun > 0.2 or 8 * seconds > 0.2:
            return best
        n *= 2


def measure_bandwidth(device: Device) -> float:
    """Bytes a second that are read from the memory of `device`, not from its caches: a sum of 256 MiB, on a GPU 1 GiB.

    What a network pays that reads each weight once. Takes about a second.
    """
    numbers = torch.ones(2**26 if torch.device(device).type == "cpu" else 2**28, device=device)
    return numbers.nbytes / best_seconds(numbers.sum, device, budget=0.3)


def product_seconds(device: Device, dtype: torch.dtype, tokens: int, width: int, inner: int) -> float:
    """Seconds of `x W^T` for x [tokens, width] and W [inner, width] in `dtype`, random, for GPUs are faster on constants."""
    x_LD, weight_OD = (torch.randn(rows, width, dtype=dtype, device=device) for rows in (tokens, inner))
    return best_seconds(lambda: F.linear(x_LD, weight_OD), device, budget=0.03)


def product_error(device: Device, dtype: torch.dtype) -> float:
    """Relative error of `x W^T` in `dtype`, root mean square over 16 tokens of 512 channels, numbers drawn from N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    x_LD, weight_OD = (torch.randn(rows, 512, generator=generator, dtype=torch.float64) for rows in (16, 64))
    exact = F.linear(x_LD, weight_OD)
    ours = F.linear(x_LD.to(device, dtype), weight_OD.to(device, dtype)).double().cpu()
    return ((ours - exact).norm() / exact.norm()).item()


def best_seconds(work: Callable[[], object], device: Device, budget: float) -> float:
    """The shortest of at least three runs of `work`, or one if it takes all of `budget` seconds; the first is not counted then."""
    wait = (lambda: None) if torch.device(device).type == "cpu" else (lambda: torch.accelerator.synchronize(device))
    times, begun = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < budget:
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
        if times[0] > budget:
            break
    return min(times[1:] or times)
