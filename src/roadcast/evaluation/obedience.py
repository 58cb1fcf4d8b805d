"""Whether a world does as it is told: the tests of steering and pedals, where they can be run."""

import numpy as np

from roadcast.data.reel.store import Reel
from roadcast.evaluation.pedals import pedal_plan, pedal_test
from roadcast.evaluation.protocol import Protocol, World
from roadcast.evaluation.steering import RealSteering, lateral_control, real_steering, steering_test, usual_amount
from roadcast.evaluation.sweep import MIN_CONTEXTS, Progress, Sweep
from roadcast.evaluation.tally import Tally

Tested = tuple[Sweep | None, str]
"""A test's outcome, or None and why it was not run."""


def recorded_steering(protocol: Protocol, tally: Tally) -> RealSteering | None:
    """How the recorded drives themselves answer to steering, None where the model takes no such command."""
    if (control := lateral_control(protocol.actions)) is None:
        return None
    column = protocol.actions.index(control)
    commands, known = (np.concatenate(x)[..., column] for x in (tally.commands, tally.known))
    return real_steering(control, commands, known, np.stack(tally.lateral))


def lag_of(real: RealSteering | None) -> int:
    """Frames by which the picture answers late; 0 where the recordings do not tell."""
    return real.best_lag if real is not None and real.best.low > 0 else 0


def tested_steering(
    world: World, reel: Reel, protocol: Protocol, contexts: int, batch: int, lag: int, progress: Progress | None
) -> Tested:
    """The steering test (evaluation/steering.py)."""
    if (control := lateral_control(protocol.actions)) is None:
        return None, f"The model takes no steering command (its controls: {', '.join(protocol.actions) or 'none'})."
    amount = usual_amount(reel, protocol.split, control)
    if amount is None:
        return None, f"No recording of split {protocol.split!r} has {control}."
    if few := too_few(protocol, contexts):
        return None, few
    test = steering_test(
        world,
        reel,
        protocol,
        control=control,
        amount=amount,
        contexts=contexts,
        batch=batch,
        lag=lag,
        progress=progress,
    )
    return test, ""


def tested_pedals(
    world: World, reel: Reel, protocol: Protocol, contexts: int, batch: int, progress: Progress | None
) -> Tested:
    """The pedal test (evaluation/pedals.py)."""
    plan = pedal_plan(reel, protocol.split, protocol.actions)
    if plan is None:
        return None, f"The model takes no pedal or speed, or it never changes in split {protocol.split!r}."
    if few := too_few(protocol, contexts):
        return None, few
    return pedal_test(world, reel, protocol, plan, contexts=contexts, batch=batch, progress=progress), ""


def too_few(protocol: Protocol, contexts: int) -> str:
    """Why there are too few contexts for a test, "" where there are enough."""
    found = min(contexts, len(protocol.clips))
    return f"The test needs at least {MIN_CONTEXTS} contexts, here {found}." if found < MIN_CONTEXTS else ""
