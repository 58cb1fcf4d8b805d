"""Versions that never change, aliases that move, and a log that tells all of it."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bad_models import sealed
from roadcast.errors import UserError
from roadcast.serving.folder_store import LOG, FolderStore
from roadcast.serving.manifest import MANIFEST, read_manifest
from roadcast.serving.registry import Registry


def folder_store(path):
    return FolderStore(path / "registry")


def mlflow_store(path):
    from roadcast.extras.mlflow_store import MlflowStore

    return MlflowStore((path / "mlflow").as_uri(), path / "cache")


BACK_ENDS = [
    pytest.param(folder_store, id="folder"),
    pytest.param(
        mlflow_store,
        id="mlflow",
        marks=[pytest.mark.slow, pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")],
    ),
]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return sealed(tmp_path_factory.mktemp("packed") / "version")


@pytest.fixture(params=BACK_ENDS)
def registry(request, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(tmp_path)
    return Registry(request.param(tmp_path), clock=lambda: 1e9)


@pytest.fixture
def local(tmp_path):
    return Registry(folder_store(tmp_path), clock=lambda: 1e9)


def pushed(registry, version, count):
    for _ in range(count):
        registry.push("mine", version)
    return registry


def test_a_version_comes_back_as_it_was_pushed_and_has_a_number_of_its_own(registry, version):
    assert [registry.push("mine", version), registry.push("mine", version), registry.push("other", version)] == [
        1,
        2,
        1,
    ]
    assert registry.models() == ["mine", "other"] and [v.number for v in registry.versions("mine")] == [1, 2]
    fetched = registry.fetch("mine", 2)
    for path in version.iterdir():
        assert (fetched / path.name).read_bytes() == path.read_bytes()
    assert read_manifest(fetched).metrics == {"psnr": 20.0}
    assert not Path("mlflow.db").exists(), "nothing is left where one happens to stand"


def test_an_alias_moves_and_goes_back_past_what_is_quarantined(registry, version):
    pushed(registry, version, 4)
    for number in (1, 2, 3, 4):
        registry.promote("mine", number, "production")
    assert registry.resolve("mine@production") == ("mine", 4) and registry.resolve("mine/2") == ("mine", 2)
    assert registry.quarantine("mine", 3, "seen to drift") == {}
    assert registry.quarantine("mine", 4, "p99 over its limit") == {"production": 2}
    assert registry.aliases("mine") == {"production": 2}
    assert [v.quarantined for v in registry.versions("mine")] == ["", "", "seen to drift", "p99 over its limit"]


def test_the_same_quarantine_asked_for_by_two_replicas_moves_an_alias_once(registry, version):
    pushed(registry, version, 3)
    for number in (1, 2, 3):
        registry.promote("mine", number, "production")
    assert registry.quarantine("mine", 3, "frozen") == {"production": 2}
    assert registry.quarantine("mine", 3, "frozen") == {}
    assert registry.aliases("mine") == {"production": 2}


def test_an_alias_with_nowhere_to_go_stays_and_a_quarantined_version_is_never_promoted(registry, version):
    pushed(registry, version, 1)
    registry.promote("mine", 1, "production")
    assert registry.quarantine("mine", 1, "blank") == {"production": None}
    assert registry.aliases("mine") == {"production": 1}
    with pytest.raises(UserError, match=r"mine/1 is quarantined \(blank\)"):
        registry.promote("mine", 1, "canary")


def test_the_log_tells_who_did_what_and_why(registry, version):
    pushed(registry, version, 2)
    registry.promote("mine", 1, "production", why="first")
    registry.refuse("mine", 2, "production", "steering: none")
    events = [(r["event"], r["version"], r.get("why")) for r in registry.store.records()]
    assert events == [("push", 1, None), ("push", 2, None), ("alias", 1, "first"), ("refuse", 2, "steering: none")]
    assert all("@" in r["who"] and r["time"] == "2001-09-09T01:46:40+00:00" for r in registry.store.records())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: flip(f / "golden.safetensors"), "golden.safetensors is damaged"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "more.py").write_text("x"), "more.py does not belong to it"),
        (lambda f: rewrite_manifest(f), "its manifest is not the one that was pushed"),
    ],
)
def test_no_damage_goes_unnoticed(local, version, damage, told):
    pushed(local, version, 1)
    damage(local.store.fetch("mine", 1))
    with pytest.raises(UserError, match=told):
        local.fetch("mine", 1)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def rewrite_manifest(folder):
    flip(folder / "golden.safetensors")
    import hashlib

    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["golden.safetensors"] = hashlib.sha256((folder / "golden.safetensors").read_bytes()).hexdigest()
    (folder / MANIFEST).chmod(0o644)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_a_killed_writer_left_is_no_version_and_no_record(local, version, tmp_path):
    """A push that was killed before its record is none; a torn line of the log is cut off by the next writer."""
    pushed(local, version, 1)
    shutil.copytree(version, local.store.fetch("mine", 2))
    with open(tmp_path / "registry" / LOG, "ab") as log:
        log.write(b'{"event": "alias", "model": "mi')
    assert [v.number for v in local.versions("mine")] == [1]
    with pytest.raises(UserError, match="mine/2: no such version; choose one of 1"):
        local.promote("mine", 2, "production")
    assert local.push("mine", version) == 3
    assert [r["version"] for r in local.store.records()] == [1, 3]


def test_a_move_that_was_logged_and_never_done_is_nothing_to_go_back_to(local, version):
    pushed(local, version, 3)
    for number in (1, 2):
        local.promote("mine", number, "production")
    local.store.append({**local.store.records()[-1], "version": 3})  # killed before the alias was replaced
    assert local.aliases("mine") == {"production": 2}
    assert local.quarantine("mine", 2, "slow") == {"production": 1}


PROMOTE = """
import sys
from pathlib import Path
from roadcast.serving.folder_store import FolderStore
from roadcast.serving.registry import Registry

registry = Registry(FolderStore(Path(sys.argv[1])))
for turn in range(40):
    registry.promote("mine", 1 + turn % 2, "production", why=sys.argv[2])
"""


@pytest.mark.slow
def test_writers_at_once_leave_whole_lines_and_readers_always_see_an_alias(local, version, tmp_path):
    pushed(local, version, 2)
    local.promote("mine", 1, "production")
    writers = [subprocess.Popen([sys.executable, "-c", PROMOTE, tmp_path / "registry", name]) for name in "ab"]
    while any(writer.poll() is None for writer in writers):
        assert local.aliases("mine")["production"] in (1, 2)
    assert [writer.returncode for writer in writers] == [0, 0]
    records = local.store.records()
    assert len(records) == 2 + 1 + 80
    assert records[-1]["version"] == local.aliases("mine")["production"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("mine", "write MODEL/NUMBER or MODEL@ALIAS"),
        ("mine/7", "mine/7: no such version; choose one of 1"),
        ("mine@canary", "no such alias; mine has production"),
        ("theirs/1", "model 'theirs' is not in the registry, which has mine"),
        ("../etc@production", "is not in the registry"),
    ],
)
def test_a_reference_that_names_nothing_is_told_what_there_is(local, version, reference, told):
    pushed(local, version, 1)
    local.promote("mine", 1, "production")
    with pytest.raises(UserError, match=told):
        local.resolve(reference)


def test_names_that_would_leave_the_folder_are_refused(local, version):
    for name in ("../up", "Mine", "", ".hidden"):
        with pytest.raises(UserError, match="use small letters"):
            local.push(name, version)
        pushed(local, version, 1)
        with pytest.raises(UserError, match="use small letters"):
            local.promote("mine", 1, name)
