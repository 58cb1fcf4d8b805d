"""The log: what was overtaken goes, what happened stays, films play back, and a tracker's trouble is its own."""

import cv2
import numpy as np

from roadcast.training.metrics import JsonLog, Log, read_log, write_event


def test_a_resumed_log_drops_figures_beyond_its_step_and_keeps_events(tmp_path):
    log = JsonLog(tmp_path / "log.jsonl", 0)
    for step in (1, 2, 3):
        log.log(step, {"loss": 1.0 / step})
    write_event(tmp_path, 3, "anomaly", "the loss is 9 deviations high", action="skip", z=9.0)
    log.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    JsonLog(tmp_path / "log.jsonl", 2).close()
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2]
    (event,) = read_log(tmp_path / "events.jsonl")
    assert event | {"time": ""} == {
        "step": 3, "kind": "anomaly", "time": "", "text": "the loss is 9 deviations high", "action": "skip", "z": 9.0,
    }  # fmt: skip


def test_a_film_plays_back_in_its_colours_and_has_a_strip(tmp_path):
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], dtype=np.uint8)
    film_FHWC = np.broadcast_to(np.repeat(colours, 4, axis=0)[:, None, None], (12, 33, 48, 3))
    JsonLog(tmp_path / "log.jsonl", 0).video(7, "imagined", film_FHWC, 10.0)
    film = cv2.VideoCapture(str(tmp_path / "samples" / "imagined-00000007.mp4"))
    assert film.get(cv2.CAP_PROP_FPS) == 10.0
    for frame in film_FHWC:
        read, back = film.read()
        assert read and back.shape == (32, 48, 3)
        assert np.abs(back[..., ::-1].mean((0, 1)) - frame[0, 0]).max() < 12
    assert not film.read()[0]
    strip = cv2.imread(str(tmp_path / "samples" / "imagined-00000007.png"))
    assert strip is not None and strip.shape == (33, 6 * 48 + 5 * 2, 3)
    assert (strip[0, 0, ::-1] == colours[0]).all() and (strip[0, -1, ::-1] == colours[2]).all()


class Tracker:
    """Remembers what it was told, and raises from the call number `fails` on."""

    def __init__(self, fails: int = 99):
        self.told, self.fails = [], fails

    def __getattr__(self, call):
        def told(*given):
            self.told.append((call, given[0] if given else None))
            if len(self.told) >= self.fails:
                raise ConnectionError("no route to host")

        return told


def test_a_tracker_that_fails_is_let_go_with_one_line_and_the_rest_are_told_all(tmp_path):
    sound, broken, lines = Tracker(), Tracker(fails=2), []
    log = Log(tmp_path, lambda: [broken, sound], lines.append, speaks=True)
    log.begin(0)
    log.log(1, {"loss": 1.0})
    log.event(1, "stall", "no batch for 5 s")
    log.video(2, "made", np.zeros((2, 16, 16, 3), dtype=np.uint8), 20.0)
    log.log(2, {"loss": 0.5})
    log.close()
    assert sound.told == [("log", 1), ("text", 1), ("video", 2), ("log", 2), ("close", None)]
    assert len(broken.told) == 2
    assert lines == ["no batch for 5 s", "Tracker is let go, training goes on: ConnectionError: no route to host"]
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2]
    assert [event["text"] for event in read_log(tmp_path / "events.jsonl")] == ["no batch for 5 s"]


def test_of_several_processes_one_writes(tmp_path):
    lines = []
    log = Log(tmp_path / "silent", lambda: [Tracker()], lines.append, speaks=False)
    log.begin(0)
    log.log(1, {"loss": 1.0})
    log.event(1, "stall", "no batch for 5 s")
    log.close()
    assert not lines and not (tmp_path / "silent").exists()
