"""Action fidelity: does what is imagined follow the commands, as a judge, optical flow and visual odometry see it?"""

from dataclasses import dataclass

from roadcast.data.reel.store import Reel
from roadcast.evaluation.counterfactual import GIVEN, Counterfactuals
from roadcast.evaluation.judge import Readout
from roadcast.evaluation.metrics.statistics import Estimate, mean_estimate, sign_flip_p
from roadcast.evaluation.odometry import OdometryCheck, led_correlation, odometry_check
from roadcast.evaluation.protocol import Protocol, World
from roadcast.evaluation.sweep import Progress, evenly
from roadcast.perception.inverse import InverseDynamics

READ = {
    "real": ("real", "true", "real video: the judge's own error, the floor"),
    "reconstruction": ("reconstruction", "true", "the true frames through the tokenizer alone"),
    "model": ("true", "true", "imagined under the recorded commands"),
    "copy": ("copy", "true", "the last context frame, repeated: what a judge guesses that sees no motion"),
    "shuffled": ("true", "shuffled", "imagined under the recorded commands, held against another clip's: chance"),
}
"""By name: which videos are read, which commands that is held against, and what it means."""


@dataclass(frozen=True)
class ActionFidelity:
    """How far imagined video follows its commands.

    contexts   positions in the protocol's clip list
    lag        frames by which the picture answers a command late
    read_back  [READ][control] what the judge reads against the commands; all empty without a judge
    followed   [GIVEN][control] what the judge reads against the commands that were given; all empty without a judge
    psnr       [GIVEN] likeness to the true frames at every horizon frame, dB
    gain       [shuffled | neutral] PSNR under the true commands minus PSNR under these, dB, paired by clip, over all horizon frames
    p_value    of each gain: one-sided sign-flip test that the true commands bring the picture closer
    flow       [GIVEN] correlation of the steering that was given with the horizontal flow; None where one never changes, empty for a
               world that takes no steering
    odometry   imagined against real yaw rates
    """

    contexts: list[int]
    lag: int
    read_back: dict[str, dict[str, Readout]]
    followed: dict[str, dict[str, Readout]]
    psnr: dict[str, Estimate]
    gain: dict[str, Estimate]
    p_value: dict[str, float]
    flow: dict[str, Estimate | None]
    odometry: OdometryCheck


def action_test(
    world: World,
    reel: Reel,
    protocol: Protocol,
    *,
    judge: InverseDynamics | None = None,
    lag: int = 0,
    contexts: int = 64,
    batch: int = 8,
    progress: Progress | None = None,
) -> ActionFidelity:
    """Imagine the same contexts under the true commands, another clip's and none, with the same noise, and read commands back.

    Args:
        judge: reads commands from video; was trained on other recordings (`judge.load_judge`).
        lag: frames by which real pictures answer late (`steering.RealSteering`).
        contexts: how many of the protocol's clips, evenly spread.
    """
    chosen = evenly(contexts, len(protocol.clips))
    seen = Counterfactuals(world, reel, protocol, judge)
    for at in range(0, len(chosen), batch):
        seen.add(chosen[at : at + batch])
        if progress:
            progress("actions", min(at + batch, len(chosen)), len(chosen))
    psnr = {given: seen["psnr", given] for given in GIVEN}
    gain = {given: (psnr["true"] - psnr[given]).mean(axis=1) for given in GIVEN if given != "true"}
    return ActionFidelity(
        contexts=chosen,
        lag=lag,
        read_back={name: seen.readouts(shown, given) for name, (shown, given, _) in READ.items()},
        followed={given: seen.readouts(given, given) for given in GIVEN},
        psnr={given: mean_estimate(rows) for given, rows in psnr.items()},
        gain={given: mean_estimate(rows) for given, rows in gain.items()},
        p_value={given: sign_flip_p(rows) for given, rows in gain.items()},
        flow={
            given: led_correlation(*steering, seen["flow", given], lag)
            for given in GIVEN
            if (steering := seen.steering(given)) is not None
        },
        odometry=odometry_check(seen["yaw", "true"], seen["yaw", "real"], seen.guessed, seen.steering("true"), lag),
    )
