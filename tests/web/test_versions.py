"""Versions that come and go under a live server: followed, refused, taken out, sent on from; nobody loses a session."""

import asyncio
import functools
import gc
import math
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from roadcast.errors import UserError
from roadcast.serving.backend import NotFinite, Shown
from roadcast.serving.examine import RefusedError
from roadcast.serving.foreign import Trait
from roadcast.serving.mock import MockBackend
from roadcast.serving.releases import Wanted
from roadcast.web import versions as module
from roadcast.web.jobs import Jobs
from roadcast.web.messages import Create
from roadcast.web.metrics import Metrics
from roadcast.web.settings import Settings
from roadcast.web.versions import Versions
from roadcast.web.wheel import Driver, Wheel

DRIVE = [[5, 0.25, 1.0, 0.0], [4, -0.5, 1.0, 0.0]]
FPS = 100.0


class World(MockBackend):
    """A toyroad that goes wrong when a test says so: `fault` is nan, error, frozen, hung, foreign or none."""

    def __init__(self, number: int):
        super().__init__(6, 48, 96, FPS)
        self.version, self.fault, self.let_go = str(number), "", threading.Event()

    def step(self, actions):
        if self.fault == "nan":
            raise NotFinite(list(actions))
        if self.fault == "error":
            raise RuntimeError("the device is gone")
        if self.fault == "hung":
            self.let_go.wait(60)
        shown = super().step(actions)
        if self.fault == "frozen":
            return {slot: Shown(np.full_like(one.frame_HWC, 77)) for slot, one in shown.items()}
        return {slot: replace(one, traits={"level": 9.0 if self.fault else 1.0}) for slot, one in shown.items()}


class Shelf:
    """Releases without a registry: a test says what is wanted, which version is refused and how, and reads what was told."""

    def __init__(self, wanted: Wanted):
        self.now, self.told, self.dead, self.refusals = wanted, [], {}, {}
        self.worlds: dict[int, World] = {}

    def wanted(self):
        return self.now

    def deaths(self, version):
        return self.dead.get(version, 0)

    def admit(self, version):
        if version in self.refusals:
            raise RefusedError(self.refusals[version])

    def open(self, version):
        self.worlds[version] = World(version)
        return self.worlds[version]

    def known(self, version):
        return {"level": Trait(1.0, 0.1)}

    def lived(self, version):
        self.told.append(("lived", version))

    def closed(self, version):
        self.told.append(("closed", version))

    def refuse(self, version, why):
        self.told.append(("refuse", version, why))

    def quarantine(self, version, why):
        self.told.append(("quarantine", version, why))


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Stage:
    """Versions of a shelf on a running loop, and a clock that a test moves."""

    def __init__(self, wanted: Wanted, **settings):
        self.shelf, self.clock = Shelf(wanted), Clock()
        self.settings, self.eyes = Settings(**settings), []
        self.metrics = Metrics(lambda: 0, lambda: 0)
        self.versions = Versions("mine", self.shelf, self.settings, self.metrics, clock=self.clock)

    async def __aenter__(self):
        for conductor in self.versions.conductors.values():
            conductor.start()
        return self

    async def __aexit__(self, *_):
        for world in self.shelf.worlds.values():
            world.let_go.set()
        for eye in self.eyes:
            eye.cancel()
        await self.versions.stop()

    async def tend(self, until=lambda: False, times: int = 200):
        """Let seconds pass, until something is so, or a look at the registry and what follows from it are over."""
        for _ in range(times):
            self.clock.now += 1
            await self.versions.tend()
            await asyncio.sleep(0.01)
            if until():
                return
        assert times < 200, "waited in vain"

    async def settle(self):
        """Let what is wanted come true."""
        await self.tend(times=10)

    async def session(self, model: str = "", log=(), seed: int = 0):
        """A session that drives on, its wheel and its driver."""
        ask = Create(model, 0, seed, "", [list(row) for row in log])
        conductor, wheel = await asyncio.wait_for(self.versions.create(ask, None, "", ignore), 5)
        driver = Driver(credit=math.inf)
        driver.controls = replace(driver.controls, throttle=1.0)
        conductor.attach(wheel, driver)
        self.eyes.append(asyncio.ensure_future(look(wheel)))
        return conductor, wheel, driver


STEPS: "weakref.WeakKeyDictionary[Wheel, list[int]]" = weakref.WeakKeyDictionary()


async def look(wheel):
    """Take every frame that a session shows."""
    STEPS[wheel] = steps = []
    while True:
        steps.append((await wheel.next_shot()).step)


async def ignore(_):
    """Nobody hears of a position in the line."""


async def frames(wheel, count: int):
    """The steps of the next frames that a session shows."""
    deadline = time.monotonic() + 10
    while wheel not in STEPS:
        await asyncio.sleep(0.01)
    seen = len(STEPS[wheel])
    while len(STEPS[wheel]) < seen + count:
        assert time.monotonic() < deadline, "waited in vain for frames"
        await asyncio.sleep(0.01)
    return STEPS[wheel][seen : seen + count]


def stage(test):
    """Run an async test."""

    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(test(*arguments, **named))

    return run


@stage
async def test_a_plain_world_is_one_version_and_stays_whatever_it_does():
    from roadcast.serving.releases import One

    world = World(0)
    versions = Versions("mine", One(lambda: world), Settings(), Metrics(lambda: 0, lambda: 0))
    versions.stable.start()
    conductor, wheel = await versions.create(Create(), None, "", ignore)
    driver = Driver(credit=math.inf)
    conductor.attach(wheel, driver)
    await wheel.next_shot()
    world.fault = "error"
    ending = await asyncio.wait_for(driver.ended, 5)
    assert (ending.code, ending.moved) == ("broken", None)
    await versions.tend()
    assert versions.roles() == {0: "stable"} and not versions.guard.condemned
    await versions.stop()


@stage
async def test_an_alias_that_moves_takes_new_sessions_along_and_leaves_the_live_ones():
    async with Stage(Wanted((1,))) as s:
        old, wheel, _ = await s.session()
        s.shelf.now = Wanted((2, 1))
        await s.tend(lambda: s.versions.traffic.stable == 2)
        assert s.versions.roles() == {1: "before", 2: "stable"}
        new, other, _ = await s.session()
        assert (old.backend.version, new.backend.version) == ("1", "2")
        steps = await frames(wheel, 5)
        assert steps == sorted(steps) and (await frames(other, 2))[-1] > 0
        assert 'version="2"' in s.metrics.text().decode()


@stage
async def test_a_version_that_nobody_needs_is_closed_and_its_memory_freed():
    async with Stage(Wanted((1,))) as s:
        conductor, wheel, _ = await s.session()
        s.shelf.now = Wanted((2, 1))
        await s.tend(lambda: s.versions.traffic.stable == 2)
        s.shelf.now = Wanted((3, 2))
        await s.tend(lambda: s.versions.traffic.stable == 3)
        assert s.versions.roles()[1] == "leaving", "somebody drives on it"
        await frames(wheel, 2)
        conductor.close(wheel, "closed")
        await s.tend(lambda: 1 not in s.versions.conductors)
        gone = weakref.ref(s.shelf.worlds.pop(1))
        del conductor, wheel
        gc.collect()
        assert gone() is None
        assert 'version="1"' not in s.metrics.text().decode()
        assert ("closed", 1) in s.shelf.told or ("lived", 1) in s.shelf.told


@stage
async def test_a_version_that_is_refused_gets_no_session_and_is_asked_for_once():
    async with Stage(Wanted((1,))) as s:
        s.shelf.refusals[2] = "files: weights.safetensors is damaged"
        s.shelf.now = Wanted((2, 1))
        await s.settle()
        assert [told for told in s.shelf.told if told[0] == "refuse"] == [("refuse", 2, s.shelf.refusals[2])]
        conductor, _, _ = await s.session()
        assert conductor.backend.version == "1" and s.versions.alive


@stage
async def test_the_way_back_is_open_while_a_refused_version_is_wanted():
    async with Stage(Wanted((2, 1))) as s:
        s.shelf.refusals[3] = "numbers: 1 of 9 tensors are not finite"
        s.shelf.now = Wanted((3, 2, 1))
        await s.tend(lambda: 3 in s.versions.refused and s.versions.traffic.before == 1)
        assert s.versions.roles() == {1: "before", 2: "stable"}


@stage
async def test_broken_sessions_go_on_at_the_version_before_with_all_they_had_done():
    async with Stage(Wanted((2, 1)), queue=0) as s:
        await s.tend(lambda: s.versions.traffic.before == 1)
        live = [await s.session(seed=seed) for seed in range(6)]
        for _, wheel, _ in live:
            await frames(wheel, 3)
        lived = [len(conductor.engine[wheel.id].log) for conductor, wheel, _ in live]
        s.shelf.worlds[2].fault = "nan"
        endings = [await asyncio.wait_for(driver.ended, 5) for _, _, driver in live]
        assert all(one.moved for one in endings), endings
        assert {(one.close_code, one.moved.model, one.moved.version) for one in endings} == {(1012, "mine/1", "1")}
        await s.tend(lambda: s.versions.traffic.stable == 1)
        told = [one for one in s.shelf.told if one[0] == "quarantine"]
        assert len(told) == 1 and "6 sessions broke" in told[0][2]
        assert "roadcast_rollbacks_total 1.0" in s.metrics.text().decode()
        for ending, steps in zip(endings, lived, strict=True):  # every seat is taken, and theirs are kept for them
            moved = ending.moved
            assert sum(row[0] for row in moved.log) >= steps
            conductor, wheel, _ = await s.session(moved.model, moved.log, moved.seed)
            assert conductor.backend.version == "1"
            assert (await frames(wheel, 1))[0] >= steps


@stage
async def test_one_session_that_breaks_among_many_condemns_nothing():
    async with Stage(Wanted((2, 1))) as s:
        await s.tend(lambda: s.versions.traffic.before == 1)
        live = [await s.session(seed=seed) for seed in range(4)]
        conductor, wheel, driver = live[0]
        for _ in range(3):
            conductor.watch.broke(3)
        assert s.versions._send_on(2, wheel)
        assert (await driver.ended).moved.model == "mine/1"
        await s.settle()
        assert s.versions.traffic.stable == 2 and not driver.ended.cancelled()


@stage
async def test_frozen_frames_take_a_version_out_and_those_who_see_them_are_sent_on():
    async with Stage(Wanted((2, 1))) as s:
        await s.tend(lambda: s.versions.traffic.before == 1)
        _, wheel, driver = await s.session()
        s.shelf.worlds[2].fault = "frozen"
        await frames(wheel, 60)
        await s.tend(lambda: 2 in s.versions.guard.condemned)
        assert "blank" in s.versions.guard.condemned[2]
        assert (await asyncio.wait_for(driver.ended, 5)).moved.model == "mine/1"


@stage
async def test_a_version_that_is_only_slow_keeps_its_live_sessions():
    async with Stage(Wanted((2, 1)), slow_s=1e-9) as s:
        await s.tend(lambda: s.versions.traffic.before == 1)
        _, wheel, driver = await s.session()
        for _ in range(80):
            await frames(wheel, 2)
            s.clock.now += 1
            await s.versions.tend()
            if 2 in s.versions.guard.condemned:
                break
        assert "p99 of a step was over" in s.versions.guard.condemned[2]
        assert s.versions.roles() == {1: "stable", 2: "leaving"}
        await frames(wheel, 3)
        assert not driver.ended.done()


@stage
async def test_steps_that_are_foreign_are_counted_and_condemn():
    async with Stage(Wanted((2, 1))) as s:
        await s.tend(lambda: s.versions.traffic.before == 1)
        _, wheel, driver = await s.session()
        await frames(wheel, 5)
        assert "roadcast_out_of_distribution_total 0.0" in s.metrics.text().decode()
        s.shelf.worlds[2].fault = "foreign"
        await frames(wheel, 80)
        await s.tend(lambda: 2 in s.versions.guard.condemned)
        assert "out of distribution" in s.versions.guard.condemned[2]
        assert "roadcast_out_of_distribution_total 0.0" not in s.metrics.text().decode()
        assert not driver.ended.done()


@stage
async def test_a_version_that_hangs_is_given_up_and_its_sessions_go_on(monkeypatch):
    monkeypatch.setattr(module, "HUNG_S", 0.2)
    async with Stage(Wanted((2, 1))) as s:
        await s.tend(lambda: s.versions.traffic.before == 1)
        _, wheel, driver = await s.session(log=DRIVE)
        await frames(wheel, 3)
        s.shelf.worlds[2].fault = "hung"
        deadline = time.monotonic() + 10
        while 2 in s.versions.conductors:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            await s.versions.tend()
        moved = (await driver.ended).moved
        assert moved.model == "mine/1" and sum(row[0] for row in moved.log) >= 9
        _, wheel, _ = await s.session(moved.model, moved.log)
        assert (await frames(wheel, 1))[0] >= 9 and s.versions.alive


@stage
async def test_a_version_that_ended_a_process_waits_and_the_one_before_it_drives():
    shelf = Shelf(Wanted((2, 1)))
    shelf.dead[2], clock = 1, Clock()
    versions = Versions("mine", shelf, Settings(), Metrics(lambda: 0, lambda: 0), clock=clock)
    assert versions.roles() == {1: "stable"} and list(shelf.worlds) == [1]
    versions.stable.start()
    for _ in range(50):
        clock.now += 1
        await versions.tend()
        await asyncio.sleep(0.002)
    assert list(shelf.worlds) == [1], "not at once again"
    for _ in range(400):
        clock.now += 1
        await versions.tend()
        await asyncio.sleep(0.01)
        if versions.traffic.before == 1:
            break
    assert versions.roles() == {1: "before", 2: "stable"}
    await versions.stop()


@stage
async def test_the_version_before_drives_where_the_first_cannot_be_loaded():
    shelf = Shelf(Wanted((2, 1)))
    shelf.refusals[2] = "load: ended by SIGSEGV"
    versions = Versions("mine", shelf, Settings(), Metrics(lambda: 0, lambda: 0))
    assert versions.roles() == {1: "stable"} and versions.refused == {2: "load: ended by SIGSEGV"}
    await versions.stop()
    shelf.now = Wanted((2,))
    with pytest.raises(RefusedError, match="SIGSEGV"):
        Versions("mine", shelf, Settings(), Metrics(lambda: 0, lambda: 0))


@stage
async def test_a_canary_has_its_share_and_goes_alone():
    async with Stage(Wanted((1,), canary=2, share=1.0)) as s:
        await s.tend(lambda: s.versions.traffic.canary == 2)
        conductor, wheel, _ = await s.session()
        assert conductor.backend.version == "2" and s.versions.roles() == {1: "stable", 2: "canary"}
        s.shelf.worlds[2].fault = "frozen"
        await frames(wheel, 60)
        await s.tend(lambda: 2 in s.versions.guard.condemned)
        assert s.versions.traffic.canary is None and (await s.session())[0].backend.version == "1"
        await s.settle()
        assert s.versions.traffic.canary is None, "it does not come back"


@stage
async def test_a_registry_that_is_away_changes_nothing(caplog):
    async with Stage(Wanted((1,))) as s:
        s.shelf.wanted = lambda: (_ for _ in ()).throw(UserError("the disk is away"))
        await s.settle()
        assert "the disk is away" in caplog.text and (await s.session())[0].backend.version == "1"


@stage
async def test_a_rollout_begins_again_on_a_good_version():
    async with Stage(Wanted((2, 1))) as s:
        await s.tend(lambda: s.versions.traffic.before == 1)
        s.shelf.worlds[2].fault = "nan"
        jobs = Jobs(Settings())
        job = jobs.start(s.versions, Create("", 0, 0, "", DRIVE, True), None, "frames", "")
        deadline = time.monotonic() + 10
        while job.status not in ("done", "failed"):
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.02)
        assert (job.status, job.made, job.error) == ("done", 10, "")
        jobs.close()


def test_a_client_whose_world_breaks_is_told_where_to_go_on_and_goes_on():
    from fastapi.testclient import TestClient

    from roadcast.web.app import create_app
    from roadcast.web.messages import Credit, Migrate, dump, parse_reply
    from roadcast.web.protocol import Frame
    from roadcast.web.server import Server

    shelf = Shelf(Wanted((2, 1)))
    server = Server({"mine": shelf})

    def heard(ws, kind):
        """The next message of a kind, frames or words."""
        while True:
            message = ws.receive()
            assert message["type"] == "websocket.send", message
            said = parse_reply(message["text"]) if message.get("text") else Frame.unpack(message["bytes"])
            if isinstance(said, kind):
                return said
            ws.send_text(dump(Credit(2)))

    with TestClient(create_app(server)) as client:
        deadline = time.monotonic() + 120
        while len(client.get("/v1/models").json()[0]["versions"]) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with client.websocket_connect("/drive") as ws:
            ws.send_text(dump(Create(seed=4, log=DRIVE)))
            ws.send_text(dump(Credit(2)))
            assert heard(ws, Frame).step >= 9
            assert client.get("/v1/models").json()[0]["versions"][1] == {"version": "2", "role": "stable", "open": 1}
            shelf.worlds[2].fault = "error"
            moved = heard(ws, Migrate)
            assert ws.receive()["code"] == 1012
        assert (moved.model, moved.version, moved.seed, moved.log[:2]) == ("mine/1", "1", 4, DRIVE)
        with client.websocket_connect("/drive") as ws:
            ws.send_text(dump(Create(moved.model, moved.scene, moved.seed, moved.clip, moved.log)))
            ws.send_text(dump(Credit(2)))
            seen = heard(ws, Frame)
            assert (seen.step, seen.model_version) == (sum(row[0] for row in moved.log), "1")
        with client.websocket_connect("/drive") as ws:
            ws.send_text(dump(Create("yours/1")))
            assert parse_reply(ws.receive_text()).code == "unknown"
