import json

import pytest

from roadcast.errors import UserError
from roadcast.web.messages import (
    AskLog,
    Branch,
    Branched,
    Close,
    Controls,
    Create,
    Credit,
    Error,
    Keep,
    Kept,
    Log,
    Migrate,
    Opened,
    Pace,
    Pause,
    Queued,
    Reset,
    Restore,
    Resume,
    Rewind,
    dump,
    parse,
    parse_reply,
    runs,
    unrolled,
)  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        Controls(3, 0.5, -0.25, 1.0, 12.5), Create(), Create("toy", 1, 2, "", [[3, 0.0, 0.5, 0.0]], True), Resume("abc"),
        Credit(2), Reset(1, 2**32 - 1), Reset(), Pause(True), Pace(False), Keep(), Restore("k"), Rewind(7), Branch(),
        AskLog(), Close(),
    ],
)  # fmt: skip
def test_client_message_round_trip(message):
    assert parse(dump(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        Queued(2), Opened("s", "toy", "v", 0, 1, 2, 20.0, 64, 32, ["steer"], ["day"]), Kept("k", 3), Branched("b", 4),
        Log("toy", "v", 0, 1, "", [[3, 0.0, 0.5, 0.0]]), Migrate("toy", "v", 0, 1), Error("full", "busy", 2.0), Error("bad", "x"),
    ],
)  # fmt: skip
def test_server_message_round_trip(message):
    assert parse_reply(dump(message)) == message
    assert type(parse_reply(dump(message))) is type(message)


def test_a_server_message_of_another_version_is_refused():
    with pytest.raises(UserError, match="one roadcast on both ends"):
        parse_reply('{"type": "queued", "place": 1}')


def test_a_log_is_rows_of_equal_commands():
    commands = [(0.0, 0.5, 0.0)] * 3 + [(0.1, 0.5, 0.0)] + [(0.0, 0.5, 0.0)]
    assert runs(commands) == [[3, 0.0, 0.5, 0.0], [1, 0.1, 0.5, 0.0], [1, 0.0, 0.5, 0.0]]
    assert list(unrolled(runs(commands))) == commands


def test_integers_serve_as_floats():
    assert parse('{"type": "action", "id": 1, "steer": 1, "time": 5}') == Controls(1, 1.0, 0.0, 0.0, 5.0)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("{", "not JSON"),
        ("[" * 4000, "not JSON"),
        ("9" * 5000, "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "type 'None' is unknown"),
        ({"type": ["action"]}, "is unknown"),
        ({"type": "fly"}, "'fly' is unknown; use one of action"),
        ({"type": "queued", "position": 1}, "'queued' is unknown"),
        ({"type": "action", "steer": 0}, "'id' is missing"),
        ({"type": "action", "id": 0}, "id = 0 is outside"),
        ({"type": "action", "id": 1.5}, "not of type int"),
        ({"type": "action", "id": True}, "not of type int"),
        ({"type": "action", "id": 1, "steer": 1.01}, r"steer = 1.01 is outside \[-1, 1\]"),
        ({"type": "action", "id": 1, "steer": "left"}, "not of type float"),
        ('{"type": "action", "id": 1, "steer": NaN}', "steer = nan is outside"),
        ({"type": "action", "id": 1, "time": 10**400}, "time = 1000"),
        ({"type": "action", "id": 1, "brake": -0.1}, "brake = -0.1 is outside"),
        ({"type": "action", "id": 1, "wings": 2}, "unknown field 'wings'"),
        ({"type": "credit"}, "'frames' is missing"),
        ({"type": "credit", "frames": 3}, "frames = 3 is outside"),
        ({"type": "pause", "paused": 1}, "not of type bool"),
        ({"type": "reset", "scene": -1}, "scene = -1 is outside"),
        ({"type": "resume"}, "'session' is missing"),
        ({"type": "create", "clip": 3}, "not of type str"),
        ({"type": "create", "log": "straight on"}, "is not a list of"),
        ({"type": "create", "log": [[1, 0, 0]]}, r"the row \[1, 0, 0\]"),
        ({"type": "create", "log": [[1, 2, 0, 0]]}, "the row"),
        ({"type": "create", "log": [[1.5, 0, 0, 0]]}, "the row"),
        ({"type": "create", "log": [[1, True, 0, 0]]}, "the row"),
        ('{"type": "create", "log": [[1, NaN, 0, 0]]}', "the row"),
        ({"type": "create", "log": [[20_000, 0, 0, 0]] * 2}, "40000 steps; 36000 can be replayed"),
    ],
)
def test_malformed_message_is_named(message, says):
    with pytest.raises(UserError, match=says):
        parse(message if isinstance(message, str) else json.dumps(message))
