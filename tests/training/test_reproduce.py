"""A run has a record, a report, and comes again from its own folder to the last bit."""

import json

import pytest

from roadcast.cli.main import run as roadcast
from roadcast.config import override
from roadcast.errors import UserError
from roadcast.training.reproduce import Comparison, compare, curves, recorded
from roadcast.training.run import train
from worlds import micro_config


@pytest.fixture(scope="module")
def finished(toy_reel, tmp_path_factory):
    """A short run, with films of a world that looks five frames back."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    config = override(micro_config(), [f"data.reel={toy_reel}", "compute.trackers=[]", "guard.window=50"])
    train(config, folder, report=lambda *_: None)
    return folder


def test_its_record_says_what_made_it(finished, toy_reel):
    record = json.loads((finished / "record.json").read_text())
    assert record["precision"] == "float32" and record["processes"] == 1 and record["seed"] == 0
    assert record["environment"]["libraries"]["torch"] and record["environment"]["cores"] > 0
    assert record["reels"][0]["path"] == str(toy_reel) and len(record["reels"][0]["fingerprint"]) >= 12


def test_it_comes_again_from_its_own_folder_identical(finished, tmp_path, capsys):
    assert roadcast(["reproduce", str(finished), "--out", str(tmp_path / "again")]) == 0
    told = capsys.readouterr().out
    assert "tokenizer: 4 losses, identical to the last bit" in told and "dynamics: 4 losses, identical" in told
    log = finished / "dynamics" / "log.jsonl"
    kept = log.read_text()
    try:
        log.write_text(kept.replace('"loss": 0.', '"loss": 1.'))
        assert not compare(finished, tmp_path / "again", ["dynamics"])[0].reproduced
    finally:
        log.write_text(kept)


def test_a_reel_that_was_changed_is_told(finished, tmp_path):
    record = json.loads((finished / "record.json").read_text())
    record["reels"][0]["fingerprint"] = "0" * 64
    (tmp_path / "record.json").write_text(json.dumps(record))
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    with pytest.raises(UserError, match="is not the reel that"):
        recorded(tmp_path)
    with pytest.raises(UserError, match=r"has no record.json"):
        recorded(tmp_path / "nothing")


def test_curves_that_differ_are_told_by_how_much_and_where():
    first = {1: 1.0, 2: 0.5, 3: 0.25}
    assert curves("s", first, dict(first)) == Comparison("s", 3, 0, True, 0.0, 1)
    apart = curves("s", first, {1: 1.0, 2: 0.6, 4: 0.2})
    assert (apart.rows, apart.missing, apart.at_step) == (2, 2, 2) and apart.largest == pytest.approx(0.2)
    assert "NOT reproduced" in apart.told() and not curves("s", first, {}).reproduced


def test_its_report_is_one_page_with_curves_films_and_facts(finished):
    page = (finished / "report.html").read_text()
    for said in (
        "<h2>tokenizer</h2>",
        "<h2>dynamics</h2>",
        "samples/s",
        "MFU",
        "held-out loss",
        "torch",
        "<svg",
        "data:image/png",
    ):
        assert said in page, said
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (finished / "dynamics" / "samples" / "imagined-00000004.mp4").exists()
