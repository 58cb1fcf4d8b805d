"""What a registry's aliases want of a server, what is examined before it is loaded, and which versions end processes."""

import os
from pathlib import Path

import numpy as np
import pytest

from bad_models import HEIGHT, WIDTH, sealed
from roadcast.errors import UserError
from roadcast.serving.backend import Shown
from roadcast.serving.examine import Check, RefusedError
from roadcast.serving.folder_store import FolderStore
from roadcast.serving.gate import Gate, Report
from roadcast.serving.mock import MockBackend
from roadcast.serving.registry import SILENT_S, Registry
from roadcast.serving.releases import FromRegistry, Wanted


class Said(Gate):
    """A gate that says what a test wants, and counts how often it is asked."""

    asked = 0
    answer = True

    def examine(self, registry, model, version):
        type(self).asked += 1
        return Report([Check("latency", self.answer, "a step takes 9 ms", 0.1)])


@pytest.fixture
def gate():
    Said.asked, Said.answer = 0, True
    return Said()


@pytest.fixture
def registry(tmp_path, clock):
    registry, version = Registry(FolderStore(tmp_path / "registry"), clock), sealed(tmp_path / "version")
    for _ in range(4):
        registry.push("mine", version)
    registry.promote("mine", 1, "production")
    registry.promote("mine", 2, "production")
    return registry


def opened(folder, manifest, name):
    backend = MockBackend(2, HEIGHT, WIDTH)
    backend.version = name
    return backend


def releases(registry, gate, reference="mine@production", opener=opened, **more) -> FromRegistry:
    return FromRegistry(registry, reference, opener, gate, **more)


def test_aliases_tell_what_is_wanted_as_they_move(registry, gate):
    followed = releases(registry, gate, canary="mine@candidate", share=0.25)
    assert followed.wanted() == Wanted((2, 1))
    registry.promote("mine", 4, "candidate")
    assert followed.wanted() == Wanted((2, 1), canary=4, share=0.25)
    registry.promote("mine", 4, "production")
    assert followed.wanted() == Wanted((4, 2, 1)), "it is no canary any more"
    registry.promote("mine", 2, "production")
    assert followed.wanted() == Wanted((2, 4, 1), canary=4, share=0.25), "each once, the last one first"
    registry.promote("mine", 4, "production")
    registry.quarantine("mine", 4, "drifts")
    assert followed.wanted() == Wanted((2, 1))
    registry.store.set_alias("mine", "production", 4)
    assert followed.wanted() == Wanted((2, 1)), (
        "whoever moves an alias past the registry does not bring a bad version back"
    )


def test_a_number_is_that_version_for_good(registry, gate):
    fixed = releases(registry, gate, "mine/1")
    assert (fixed.model, fixed.wanted()) == ("mine", Wanted((1,)))
    with pytest.raises(UserError, match="mine@candidate"):
        releases(registry, gate, "mine/1", canary="mine@candidate")
    with pytest.raises(UserError, match="no such alias"):
        releases(registry, gate, "mine@nothing")


def test_the_gate_is_asked_once_a_build(registry, gate):
    followed = releases(registry, gate)
    followed.admit(2)
    followed.admit(2)
    assert gate.asked == 1
    registry.passed("mine", 1, {**gate.build, "torch": "0.1"})
    followed.admit(1)
    assert gate.asked == 2, "another build's word does not count"
    Said.answer = False
    with pytest.raises(RefusedError, match="latency: a step takes 9 ms"):
        followed.admit(3)
    registry.refuse("mine", 2, "production", "on second thoughts")
    assert not registry.has_passed("mine", 2, gate.build)


def test_what_the_gate_lets_through_by_promotion_is_known_to_the_server(registry, gate):
    gate.admit(registry, "mine", 3, "production")
    releases(registry, gate).admit(3)
    assert gate.asked == 1


def test_a_version_is_driven_before_it_is_served(registry, gate):
    assert releases(registry, gate).open(2).version == "2"

    class Frozen(MockBackend):
        def step(self, actions):
            return {slot: Shown(np.zeros((HEIGHT, WIDTH, 3), np.uint8)) for slot in actions}

    with pytest.raises(RefusedError, match="frames were blank"):
        releases(registry, gate, opener=lambda *_: Frozen(1, HEIGHT, WIDTH)).open(2)


def test_damage_is_found_when_it_is_loaded(registry, gate):
    path = registry.store.fetch("mine", 2) / "config.json"
    path.chmod(0o644)
    path.write_text("{} ")
    with pytest.raises(UserError, match=r"config.json is damaged"):
        releases(registry, gate).open(2)
    assert registry.deaths("mine", 2) == 0


def begin_in_another_process(registry, number: int) -> None:
    """A process that is killed while it loads a version."""
    if (child := os.fork()) == 0:
        try:
            registry.loading("mine", number)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_version_that_ends_three_processes_is_quarantined(registry, gate):
    followed = releases(registry, gate)
    for deaths in range(3):
        assert followed.deaths(2) == deaths
        followed.admit(2)
        begin_in_another_process(registry, 2)
    with pytest.raises(RefusedError, match="ended 3 processes"):
        followed.admit(2)
    assert registry.aliases("mine") == {"production": 1}
    assert "ended 3 processes" in registry.version("mine", 2).quarantined


def test_a_version_that_has_lived_is_beyond_suspicion(registry, gate):
    followed = releases(registry, gate)
    begin_in_another_process(registry, 2)
    assert followed.deaths(2) == 1
    followed.lived(2)
    assert followed.deaths(2) == 0
    for _ in range(3):
        begin_in_another_process(registry, 2)
    assert followed.deaths(2) == 0


def test_whoever_leaves_in_order_has_not_died(registry, gate):
    followed = releases(registry, gate)
    followed.closed(2)  # it was refused before it was loaded
    followed.open(2)
    followed.closed(2)
    assert followed.deaths(2) == 0
    begin_in_another_process(registry, 2)
    assert followed.deaths(2) == 1


def test_a_process_elsewhere_is_dead_after_long_silence(registry, gate, clock, monkeypatch):
    monkeypatch.setattr("roadcast.serving.registry._who", lambda: "me@another")
    registry.loading("mine", 2)
    monkeypatch.undo()
    followed = releases(registry, gate)
    assert followed.deaths(2) == 0
    clock.now += SILENT_S + 2
    assert followed.deaths(2) == 1


def test_a_registry_that_can_only_be_read_serves(registry, gate, monkeypatch, caplog):
    monkeypatch.setattr(
        registry.store, "append", lambda record: (_ for _ in ()).throw(OSError("read-only file system"))
    )
    followed = releases(registry, gate)
    followed.admit(2)
    assert followed.open(2).version == "2"
    followed.quarantine(2, "drifts")
    assert caplog.text.count("the registry could not be told") == 3
    assert Path(registry.store.fetch("mine", 2)).exists()
