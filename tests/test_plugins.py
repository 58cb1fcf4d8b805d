import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from roadcast import plugins
from roadcast.errors import UserError

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"


@pytest.fixture
def offered(monkeypatch, tmp_path):
    """Pretends that packages offer the losses given, as (package, name, source of the module that registers it)."""

    def offer(*plugs: tuple[str, str, str]) -> None:
        points = []
        for package, name, source in plugs:
            (tmp_path / f"{package}.py").write_text(source)
            points.append(EntryPoint(name, package, "roadcast.losses")._for(Distribution(package)))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints(p for p in points if p.group == group))

    return offer


class Distribution:
    def __init__(self, name: str):
        self.name = name


def test_what_is_there_is_taken_and_no_plug_in_imported(offered):
    offered(("plug_a", "mine", "raise SystemExit"))
    assert plugins.look_up("loss", "mine", {"mine": 1}) == 1


def test_a_plug_in_is_imported_when_asked_for(offered):
    offered(("plug_b", "mine", "from test_registry import KNOWN\nKNOWN['mine'] = 2"))
    sys.modules["test_registry"] = type(sys)("test_registry")
    sys.modules["test_registry"].KNOWN = known = {}
    assert plugins.look_up("loss", "mine", known) == 2 and known == {"mine": 2}


@pytest.mark.parametrize(
    ("plugs", "told"),
    [
        ([], "loss 'mine' is unknown; choose one of theirs"),
        ([("plug_c", "other", "")], "loss 'mine' is unknown; choose one of other, theirs"),
        (
            [("plug_d", "mine", "import nothing_of_that_name")],
            r"package plug_d, which cannot be imported \(ModuleNotFound",
        ),
        ([("plug_e", "mine", "")], "package plug_e, whose plug_e registers nothing of that name"),
        ([("plug_f", "mine", ""), ("plug_g", "mine", "")], "offered by plug_f and plug_g; pip uninstall all but one"),
    ],
)
def test_a_name_that_cannot_be_had_is_told_with_its_package(offered, plugs, told):
    offered(*plugs)
    with pytest.raises(UserError, match=told):
        plugins.look_up("loss", "mine", {"theirs": 1})


def test_where_nothing_is_offered_no_choice_is_promised(offered):
    offered()
    with pytest.raises(UserError, match="hook 'mine' is unknown; and no installed package offers any"):
        plugins.look_up("hook", "mine", {})


USE = """
import sys
from pathlib import Path
import torch
from roadcast.objectives.losses import LOSSES, Losses
from roadcast.training.hooks import Hooks

losses = Losses({"nearby": 2.0}, "frames", None)
true, terms = torch.zeros(1, 2, 8, 8, 3), {}
made = true.clone()
made[:, :, :4] = 9  # the sky
made[:, :, 4:] = 1
assert losses.add_to(torch.tensor(1.0), terms, made, true, None) == 3 and terms["nearby"] == 1

rows = []
hooks = Hooks({"weights": {"every": 2}}, Path(), "tokenizer", lambda *row: rows.append(row))
model = torch.nn.Linear(3, 1, bias=False)
torch.nn.init.ones_(model.weight)
hooks.begin(model)
for step in (1, 2, 3):
    hooks.step(step, {})
[(step, values)] = rows
assert step == 2 and abs(values["weight_norm"] - 3 ** 0.5) < 1e-6
"""


def test_the_example_is_installed_and_found_by_name(tmp_path):
    """As a user does it, but that nothing is fetched."""
    copy, target = tmp_path / "plugin", tmp_path / "target"
    subprocess.run(["cp", "-r", EXAMPLE, copy], check=True)  # a build leaves files where it is run
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, copy], check=True)
    path = f"import sys; sys.path.insert(0, {str(target)!r})\n"
    done = subprocess.run([sys.executable, "-c", path + USE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
