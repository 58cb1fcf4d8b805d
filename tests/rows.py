"""Results of runs that never were: what tables and leaderboards are tested with."""

from roadcast.research.store import Row

PROTOCOL = {
    "dataset": "d" * 40, "split": "val", "clips": [0, 5], "height": 32, "width": 64, "fps": 20.0, "context": 4, "horizon": 8,
    "horizons": [1, 2, 4, 8], "steps": None,
}  # fmt: skip


def row(name: str, seed: int, psnr: float, *, study: str = "study", changes=(), protocol=None, **scores: float) -> Row:
    """A run whose PSNR is the same at every horizon, and half a dB sure."""
    told = {f"psnr@{h}": [psnr, psnr - 0.5, psnr + 0.5] for h in range(1, 9)}
    told |= {name: [value, value, value] for name, value in scores.items()}
    return Row(
        study=study, name=name, seed=seed, changes=list(changes), config={}, measure={}, protocol=PROTOCOL | (protocol or {}),
        scores=told, floor={"psnr@4": [15.0, 14.0, 16.0]}, parameters={"tokenizer": 1_000_000, "dynamics": 2_000_000},
        seconds={"train": 60.0, "frame": 0.02},
        record={"git": {"commit": "0123456789", "changed": []}, "environment": {"cores": 2, "processor": "x86_64"}},
        finished="2026-11-28T12:00:00+00:00",
    )  # fmt: skip
