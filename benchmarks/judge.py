"""How well a judge reads the commands of real video that it has not seen: the floor of action fidelity, as a Markdown table.

    python benchmarks/judge.py runs/judge/world reels/mine --split val
"""  # fmt: skip

import argparse
from pathlib import Path

from roadcast.data.reel.store import Reel
from roadcast.evaluation.judge import floor, load_judge
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.evaluation.protocol import make_protocol
from roadcast.flow.world import World


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("reel", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--clips", type=int, default=64)
    args = parser.parse_args()
    reel = Reel(args.reel)
    protocol = make_protocol(
        World.load(args.world), reel, split=args.split, clips=args.clips, context=16, horizon=32, steps=None, seed=0
    )
    print(f"{len(protocol.clips)} clips of {protocol.recordings} recordings\n")
    print("| control | mean absolute error | correlation | R2 |\n|---|---:|---:|---:|")
    for control, told in floor(load_judge(args.world, protocol), reel, protocol).items():
        print(f"| {control} | {cell(told.error, 3)} | {cell(told.correlation, 2)} | {cell(told.r2, 2)} |")


def cell(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.mean:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


if __name__ == "__main__":
    main()
