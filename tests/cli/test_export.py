"""`roadcast export`."""

import sys

import pytest

from roadcast.cli.main import run


def test_mistakes_are_named_before_any_work(refused, reel, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    assert "not an empty folder" in refused(["export", reel, "--out", tmp_path / "full"])
    assert "not an empty folder" in refused(["export", reel, "--out", tmp_path / "full" / "mine.txt"])
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep me"
    assert "is a reel, not a world" in refused(["export", reel, "--out", tmp_path / "new"])
    assert "no such folder" in refused(["export", tmp_path / "none", "--out", tmp_path / "new"])
    assert "--steps 0: give at least 1" in refused(["export", reel, "--out", tmp_path / "new", "--steps", "0"])
    with pytest.raises(SystemExit, match="2"):
        run(["export", str(reel), "--out", str(tmp_path / "new"), "--format", "tflite"])
    told = capsys.readouterr()
    assert "tflite" in told.out + told.err and "onnx" in told.out + told.err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_without_onnxruntime_it_tells_how_to_install_it(refused, trained, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "roadcast.extras.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = refused(["export", trained, "--out", tmp_path / "new", "--format", "onnx"])
    assert "exporting to ONNX needs onnxruntime" in told and "pip install 'roadcast[onnx]'" in told
    assert not list(tmp_path.iterdir())


def test_a_file_that_disagrees_is_not_left(trained, tmp_path, monkeypatch):
    onnx = pytest.importorskip("roadcast.extras.onnx", reason="ONNX files need onnx, onnxscript and onnxruntime")

    def disagree(tokenizer, folder, height, width):
        (folder / onnx.ENCODER).write_bytes(b"wrong")
        raise RuntimeError("latents is 0.5 off")

    monkeypatch.setattr(onnx, "export_tokenizer", disagree)
    with pytest.raises(RuntimeError, match=r"0\.5 off"):
        run(["export", str(trained), "--out", str(tmp_path / "new"), "--format", "onnx"])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_tokenizer_is_written_and_nothing_else_is_said(trained, tmp_path, capfd):
    onnx = pytest.importorskip("roadcast.extras.onnx", reason="ONNX files need onnx, onnxscript and onnxruntime")
    (tmp_path / "new").mkdir()
    assert run(["export", str(trained), "--out", str(tmp_path / "new"), "--format", "onnx"]) == 0
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [onnx.DECODER, onnx.ENCODER]
    told = capfd.readouterr()
    assert f"{onnx.ENCODER}  " in told.out and not told.err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_step_is_written_and_drives(trained, tmp_path):
    from roadcast.serving.exported import ExportedSession

    assert run(["export", str(trained), "--out", str(tmp_path / "new"), "--steps", "1", "--precision", "float32"]) == 0
    session = ExportedSession.open(tmp_path / "new")
    shown = session.reset(1, seed=2)
    assert session.step({"steer": 0.5}).shape == shown.shape == (32, 64, 3)
