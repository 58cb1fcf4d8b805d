import pytest
from torch import nn

from roadcast.errors import UserError
from roadcast.training.hooks import Hook, Hooks, register_hook


@register_hook("tests_note")
class Note(Hook):
    defaults = {"every": 2.0}  # noqa: RUF012

    def begin(self, run):
        self.told = [("begin", run.stage, run.model)]

    def step(self, run, step, terms):
        if step % self.options["every"] == 0:
            run.log(step, {"doubled": 2 * terms["loss"]})

    def saved(self, run, step):
        self.told.append(("saved", step))


@register_hook("tests_fail")
class Fail(Hook):
    def step(self, run, step, terms):
        raise ZeroDivisionError("by nothing")


def test_hooks_are_told_what_happens_and_can_log(tmp_path):
    rows, model = [], nn.Linear(1, 1)
    hooks = Hooks({"tests_note": {}}, tmp_path, "dynamics", lambda *row: rows.append(row))
    hooks.begin(model)
    for step in (1, 2, 3):
        hooks.step(step, {"loss": float(step)})
    hooks.evaluated(3, {"val_loss": 1.0})
    hooks.saved(3)
    hooks.end()
    assert rows == [(2, {"doubled": 4.0})]
    assert hooks.hooks[0].told == [("begin", "dynamics", model), ("saved", 3)]


def test_options_are_the_recipes(tmp_path):
    assert Hooks({"tests_note": {"every": 5.0}}, tmp_path, "", print).hooks[0].options == {"every": 5.0}
    with pytest.raises(UserError, match="hook 'tests_note' has no option 'often'; it has every"):
        Hooks({"tests_note": {"often": 5.0}}, tmp_path, "", print)


def test_an_unknown_hook_is_named(tmp_path):
    with pytest.raises(UserError, match=r"hook 'nowhere' is unknown; choose one of .*tests_note"):
        Hooks({"nowhere": {}}, tmp_path, "", print)


def test_a_hook_that_raises_stops_the_run_and_is_named(tmp_path):
    hooks = Hooks({"tests_note": {}, "tests_fail": {}}, tmp_path, "dynamics", print)
    hooks.begin(nn.Linear(1, 1))
    with pytest.raises(
        UserError, match="hook 'tests_fail' stopped the run in step: ZeroDivisionError: by nothing"
    ) as raised:
        hooks.step(1, {"loss": 1.0})
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
