"""The whole road at toy size: ingest, train, evaluate, generate, info; and a training that is killed on the way."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from roadcast.cli.generate import script
from roadcast.cli.main import run
from roadcast.serving.session import ModelSession


def read_video(path) -> np.ndarray:
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    return np.stack(frames)


def test_ingest_tells_what_it_made_and_does_nothing_twice(tmp_path, capsys):
    command = [
        "ingest",
        "toyroad:recordings=3,frames=25,height=32,width=64",
        str(tmp_path / "reel"),
        "--height",
        "32",
        "--width",
        "64",
    ]
    assert run([*command, "--min-seconds", "1"]) == 0
    told = capsys.readouterr().out
    assert "3 (1 train, 1 val, 1 test)" in told
    assert "75 = 4 s at 20 a second" in told
    assert "times smaller than raw RGB" in told
    assert run([*command, "--min-seconds", "1"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_evaluate_prints_the_scores_and_writes_the_report(trained, reel, tmp_path, capsys):
    sizes = ["--clips", "8", "--context", "4", "--horizon", "4", "--steering-contexts", "7"]
    assert run(["evaluate", str(trained), "--reel", str(reel), "--out", str(tmp_path), *sizes]) == 0
    told = capsys.readouterr().out
    assert "PSNR, model" in told
    assert "steering: " in told
    report = tmp_path / "report.html"
    assert f"report: {report}" in told
    page = report.read_text()
    assert "Loss of stage tokenizer" in page
    assert "Loss of stage dynamics" in page


def test_generate_gives_the_same_video_for_the_same_script(trained, tmp_path, capsys):
    videos = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.mp4"
        assert run(["generate", str(trained), str(out), "--frames", "5", "--steer", "-0.3", "--enlarge", "2"]) == 0
        videos.append(read_video(out))
    assert "6 frames, 0.2 s from scene 0" in capsys.readouterr().out
    assert videos[0].shape == (6, 64, 128, 3)
    assert np.array_equal(*videos)
    assert not list(tmp_path.glob(".*"))


def test_scripts_lay_their_commands_over_the_last_ones_of_the_scene(trained, tmp_path):
    session = ModelSession.open(trained)
    last = dict(zip(session.actions, session.context.actions_BFA[1, -1].tolist()))
    path = tmp_path / "script.csv"
    path.write_text("steer\n0.5\n-0.5\n")
    rows = script(session, 1, str(path), None, 3)
    assert rows == [{**last, "steer": steer} for steer in (0.5, -0.5, -0.5)]
    assert script(session, 1, "-0.3", 0.7, 2) == [{"steer": -0.3, "throttle": 0.7}] * 2
    sine = [row["steer"] for row in script(session, 1, "sine", None, 80)]
    assert sine[20] == pytest.approx(0.5)
    assert sine[60] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("steer\n0.1\nleft\n", "line 3"),
        ("speeed\n1\n", "no control 'speeed'"),
        ("steer\n", "no row"),
        ("steer\nnan\n", "line 2"),
    ],
)
def test_scripts_that_cannot_be_driven_are_named(trained, tmp_path, refused, text, complaint):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    line = refused(["generate", trained, tmp_path / "a.mp4", "--steer", path])
    assert str(path) in line
    assert complaint in line


def test_generate_refuses_what_it_cannot_write(trained, tmp_path, refused):
    assert ".mp4" in refused(["generate", trained, tmp_path / "a.gif"])
    assert "--frames 0" in refused(["generate", trained, tmp_path / "a.mp4", "--frames", "0"])
    assert "scene 99" in refused(["generate", trained, tmp_path / "a.mp4", "--scene", "99"])
    assert "'sideways'" in refused(["generate", trained, tmp_path / "a.mp4", "--steer", "sideways"])


def test_info_tells_reel_run_world_and_preset(trained, reel, capsys):
    told = {}
    for name in (reel, trained, trained / "world", "tiny"):
        assert run(["info", str(name)]) == 0
        told[name] = capsys.readouterr().out
    assert "90 = 4.5 s at 20 a second" in told[reel]
    assert "steer         100%" in told[reel]
    assert "a run, finished" in told[trained]
    assert "stage dynamics: done, 2 steps; loss" in told[trained]
    assert "scenes\n  0  toyroad" in told[trained / "world"]
    assert "M parameters" in told["tiny"]


def test_training_killed_on_the_way_ends_with_the_weights_of_one_left_alone(reel, tmp_path, micro):
    slow = [
        *micro,
        *(f"train.{s}.{k}" for s in ("tokenizer", "dynamics") for k in ("steps=40", "save_every=4", "log_every=2")),
    ]

    def command(folder):
        return ["train", "--reel", str(reel), "--out", str(tmp_path / folder), "--set", *slow]

    process = subprocess.Popen(
        [sys.executable, "-m", "roadcast.cli.main", *command("killed")],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until, states = time.monotonic() + 90, tmp_path / "killed" / "tokenizer" / "state"
    while not (states / "step-00000008").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (states / "latest").exists()
    assert not (tmp_path / "killed" / "world").exists()

    assert run(command("killed")) == 0
    assert run(command("alone")) == 0
    weights = [tmp_path / folder / "world" / "weights.safetensors" for folder in ("killed", "alone")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    scenes = [path.with_name("config.json").read_bytes() for path in weights]
    assert scenes[0] == scenes[1]
