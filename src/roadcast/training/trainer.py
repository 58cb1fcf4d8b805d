"""The training loop, for every stage and every objective."""

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from roadcast.config import Config, StageConfig
from roadcast.errors import UserError
from roadcast.objectives.base import Objective
from roadcast.parallel.apply import parallelise
from roadcast.parallel.engine import Engine
from roadcast.parallel.mesh import Mesh
from roadcast.parallel.reduce import local
from roadcast.training.checkpoints import Checkpoints
from roadcast.training.course import Course
from roadcast.training.ema import EMA
from roadcast.training.feed import Feed, Taken
from roadcast.training.guard import Verdict
from roadcast.training.hooks import Hooks
from roadcast.training.metrics import Log
from roadcast.training.monitor import clean
from roadcast.training.onlookers import Onlookers, Progress
from roadcast.training.optim import build_optimizers
from roadcast.training.schedule import learning_rate
from roadcast.training.signals import Asked
from roadcast.training.state import TrainingState

Weights = dict[str, Tensor]
Validate = Callable[[Engine], dict[str, float]]
"""The terms on held-out clips, names prefixed by `val_`; nothing where there are none."""


def fit(
    objective: Objective,
    stage: StageConfig,
    config: Config,
    mesh: Mesh,
    dtype: torch.dtype,
    feed: Feed,
    folder: Path,
    log: Log,
    *,
    validate: Validate,
    show: Callable[[int, Weights], None],
    progress: Progress,
) -> Weights | None:
    """Train `objective.trained` for `stage.steps` steps, from the newest state in `folder`/state on.

    dtype     that products are computed in; weights and their sums stay float32
    validate  called every `evaluate_every` steps with the averaged weights in place
    show      called on the main process after that with the averaged weights whole, to film what they make
    returns   the averaged weights whole, on the main process: the last ones, or, where the stage ended early and its best states
              are kept, the best ones

    All that is decided is decided on figures that are the same on all processes. All chance comes from generators seeded by the
    number of the micro-batch, so step n is the same whether or not the run was stopped before it.
    Raises `UserError` where the guard gives up, or memory ran out twice, and `KeyboardInterrupt` once all is saved after a SIGTERM.
    """
    compute = config.compute
    engine = parallelise(objective, stage, compute, mesh, dtype)
    model = engine.model.train()
    optimizers, ema = build_optimizers(model, stage, compute.offload), EMA(model, stage.ema)
    objective.follow(ema.average)
    state = TrainingState(model, optimizers, ema)
    course = Course(objective, stage, config.guard, mesh.device.type, dtype)
    checkpoints = Checkpoints(
        folder / "state", keep=stage.keep, keep_best=stage.keep_best,
        report=lambda text: log.event(course.place.step, "checkpoint", text),
        background=compute.save_async == "yes" or (compute.save_async == "auto" and mesh.device.type == "cuda"),
    )  # fmt: skip
    if (saved := checkpoints.latest()) is not None:
        course.resume(state.restore(checkpoints, saved))
    elif config.guard.anomaly == "rollback":
        state.save(checkpoints, 0, course.facts())  # there is always something to roll back to

    look = Onlookers(config, stage, mesh, dtype, state, course, folder, log, progress)

    def begin() -> None:
        log.begin(course.place.step)
        feed.begin(course.place, lambda text: log.event(course.place.step, "loader", text))

    begin()
    look.hooks.begin(model)
    with Asked() as asked, closing(feed), end_told(log, course):
        while course.place.step < stage.steps and not course.stopping.over:
            place = course.place
            done, rate = place.step + 1, learning_rate(place.step, stage)
            look.before(done)
            objective.at(place.step, stage.steps)
            torch.manual_seed((config.seed << 32) + place.step + place.shift)  # for plug-ins that draw from it
            taken = feed.take()
            terms, ending = agree(mesh, gradients(engine, feed, taken, course, log), bool(asked))
            terms["grad_norm"] = norm = float(engine.norm()) / course.scaler.get_scale()

            overflow = course.scaler.is_enabled() and not math.isfinite(norm)
            verdict = course.guard.judge(place.step, terms["loss"], norm, overflow=overflow)
            if verdict.reason is not None:
                tell(log, mesh, done, verdict, taken)
            if verdict.action == "stop":
                raise UserError(f"{folder}: {verdict.reason}; the states saved before are as they were")
            if verdict.action == "rollback":
                saved = checkpoints.latest()
                assert saved is not None
                course.roll_back(state.restore(checkpoints, saved))
                clear(optimizers)
                begin()
                continue

            blocks = look.gradients(done)
            if verdict.action == "step":
                scale_gradients(model, min(1.0, stage.clip_norm / (norm + 1e-6)) / course.scaler.get_scale())
                for optimizer in optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    optimizer.step()
                ema.update(model)
                course.averages.add(terms)
            else:
                place.skipped += not overflow
                place.overflows += overflow
            course.scaler.settle(overflow)
            clear(optimizers)
            place.step = done
            look.after(done, terms, blocks, rate, taken[0][1].actions_BFA.shape[1], feed.take_waited())

            score, last = None, done == stage.steps
            if done % stage.evaluate_every == 0 or last:
                score = evaluate(objective, engine, ema, validate, mesh, done, log, look.hooks, show)
            if score is not None and course.stopping.judge(done, score):
                log.event(
                    done, "early stop", f"no better held-out loss since step {course.stopping.best}: the stage ends"
                )
            scored = score is not None and stage.keep_best > 0
            if done % stage.save_every == 0 or last or scored or course.stopping.over or ending:
                state.save(checkpoints, done, course.facts(), score)
                look.hooks.saved(done)
            if ending:
                checkpoints.wait()
                log.event(done, "asked", "was asked to end (SIGTERM); all is saved")
                raise KeyboardInterrupt

        checkpoints.wait()
        look.hooks.end()

    if course.stopping.over and stage.keep_best and (saved := checkpoints.best()) is not None:
        state.restore(checkpoints, saved)
    return engine.whole(ema.average)


def gradients(engine: Engine, feed: Feed, taken: Taken, course: Course, log: Log) -> dict[str, Tensor]:
    """Add a step's gradients, and return its terms; where memory runs out, once more and from then on in halves of micro-batches.

    That is for one process alone: several cannot tell each other in the middle of a pass.
    """
    place, stage = course.place, feed.stage
    try:
        return engine.gradients(feed.micros(taken, place.parts), course.scaler)
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not out_of_memory(error):
            raise
        if place.parts > 1 or stage.batch % 2 or feed.mesh.ranks > 1:
            raise UserError(
                f"memory ran out at step {place.step + 1}, on {stage.batch // place.parts} clips at once: {str(error).splitlines()[0]}; "
                f"set batch = {max(1, stage.batch // 2)} and accumulate = {2 * stage.accumulate}, remat = 'block', or a smaller world; "
                "the states saved before are as they were"
            ) from None
    place.parts *= 2
    engine.model.zero_grad(set_to_none=True)
    clean(feed.mesh.device)
    log.event(
        place.step + 1,
        "out of memory",
        f"{stage.batch} clips at once were too many: half as many, twice as often, from here on",
    )
    return gradients(engine, feed, taken, course, log)


def out_of_memory(error: Exception) -> bool:
    """Whether that is what it says: CPUs have no error of their own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def agree(mesh: Mesh, terms: dict[str, Tensor], asked: bool) -> tuple[dict[str, float], bool]:
    """The means of the terms over all processes, and whether any was asked to end."""
    values = torch.stack([*terms.values(), torch.tensor(float(asked), device=mesh.device)]).double()
    *means, ending = mesh.mean(values).tolist()
    return dict(zip(terms, means, strict=True)), ending > 0


def scale_gradients(model: torch.nn.Module, factor: float) -> None:
    """Multiply all gradients, each process its own shards."""
    found = [local(p.grad) for p in model.parameters() if p.grad is not None]
    torch._foreach_mul_(found, factor)


def clear(optimizers: list[torch.optim.Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)


def tell(log: Log, mesh: Mesh, step: int, verdict: Verdict, taken: Taken) -> None:
    """Write down a step out of the ordinary, with what it was made of."""
    clips = mesh.gather([[clip.video_B.tolist(), clip.first_B.tolist()] for _, clip in taken])
    places = sorted({tuple(place) for rank in clips for videos, firsts in rank for place in zip(videos, firsts)})
    done = {"step": "taken all the same", "skip": "skipped", "rollback": "back to the last state, past these clips"}
    log.event(
        step, "anomaly", f"{verdict.reason}: {done.get(verdict.action, verdict.action)}", action=verdict.action,
        loss_z=verdict.loss_z, norm_z=verdict.norm_z, clips=places,
    )  # fmt: skip


def evaluate(
    objective: Objective, engine: Engine, ema: EMA, validate: Validate, mesh: Mesh, step: int, log: Log, hooks: Hooks,
    show: Callable[[int, Weights], None],
) -> float | None:  # fmt: skip
    """Log what the averaged weights do on held-out clips, and tell the objective; their loss there, where there are any."""
    engine.model.eval()
    with ema.swapped_into(engine.model):
        values = validate(engine)
    engine.model.train()
    if values:
        log.log(step, values)
    objective.judged(values)
    hooks.evaluated(step, values)
    weights = engine.whole(ema.average)
    if weights is not None:
        show(step, weights)
    mesh.barrier()
    return values.get("val_loss")


@contextmanager
def end_told(log: Log, course: Course) -> Iterator[None]:
    """What ends a stage before its time is written down."""
    try:
        yield
    except UserError as error:
        log.event(course.place.step, "stopped", str(error))
        raise
    finally:
        log.close()
