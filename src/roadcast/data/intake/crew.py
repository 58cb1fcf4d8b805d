"""Who takes the recordings of a source: workers that can be killed, or this process itself."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from roadcast.data.intake.limits import Limits
from roadcast.data.intake.plan import Plan
from roadcast.data.intake.take import Taker
from roadcast.data.intake.workers import Workers
from roadcast.data.reel.piece import report_of
from roadcast.errors import UserError

Progress = Callable[[str, int], None]


class Crew:
    """`count` worker processes, or none beside this one if it is 0; they end with the block."""

    def __init__(self, count: int, limits: Limits):
        self.count = count
        self._workers = Workers(count, limits)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.end()

    def listing(self, plan: Plan) -> tuple[tuple[str, ...], list[str]]:
        """The names of the cameras and of the recordings of `plan`'s source; a `UserError` if it cannot be listed."""
        if not self.count:
            listed = Taker(plan).listing()
        else:
            ((_, answer),) = self._workers.answers([{"plan": asdict(plan)}], lambda request, message: None)
            if "died" in answer:
                raise UserError(f"{plan.source}: {answer['died']}")
            listed = _done(answer)
        return tuple(listed["cameras"]), listed["names"]

    def take(self, plan: Plan, names: Sequence[str], progress: Progress) -> list[dict[str, Any]]:
        """The report on every recording, in order; those whose piece is complete are left as they are."""
        reports = {
            n: report for n, name in enumerate(names) if (report := report_of(Path(plan.partial), n, name)) is not None
        }
        todo = [{"ordinal": n, "name": name} for n, name in enumerate(names) if n not in reports]
        plan = replace(plan, threads=max(1, self.count // max(1, len(todo))))
        if self.count:
            self._take_in_workers(plan, todo, reports, progress)
        else:
            _take_here(plan, todo, reports, progress)
        return [reports[n] for n in range(len(names))]

    def _take_in_workers(
        self, plan: Plan, todo: list[dict[str, Any]], reports: dict[int, dict[str, Any]], progress: Progress
    ) -> None:
        values = asdict(plan)

        def told(request: dict[str, Any], message: dict[str, Any]) -> None:
            progress(request["take"]["name"], message["frames"])

        for request, answer in self._workers.answers(({"plan": values, "take": one} for one in todo), told):
            n, name = request["take"]["ordinal"], request["take"]["name"]
            if "died" in answer:
                reports[n] = report_of(Path(plan.partial), n, name) or {"rejected": [name, f"{name}: {answer['died']}"]}
            else:
                reports[n] = _done(answer)


def _take_here(plan: Plan, todo: list[dict[str, Any]], reports: dict[int, dict[str, Any]], progress: Progress) -> None:
    taker = Taker(plan)
    for one in todo:
        with taker.telling(lambda frames, reading, name=one["name"]: progress(name, frames)):
            reports[one["ordinal"]] = taker.take(**one)
    taker.close()


def _done(answer: dict[str, Any]) -> dict[str, Any]:
    """What a worker did; what ended it is raised here as it was there."""
    if "refused" in answer:
        raise UserError(answer["refused"])
    if "os_error" in answer:
        raise OSError(*answer["os_error"][:2], answer["os_error"][2])
    if "fault" in answer:
        raise RuntimeError(f"in a worker process:\n{answer['fault']}")
    return answer["done"]
