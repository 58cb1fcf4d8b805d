import hashlib

import pytest

from roadcast import download
from roadcast.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_a_path_is_itself_and_nothing_is_fetched(cache):
    assert str(download.local("weights/i3d.pt")) == "weights/i3d.pt" and not cache.exists()


def test_a_url_is_fetched_once_and_held_to_its_digest(tmp_path, cache):
    source = tmp_path / "i3d.pt"
    source.write_bytes(b"weights")
    where = f"{source.as_uri()}#sha256={hashlib.sha256(b'weights').hexdigest().upper()}"
    assert download.local(where).read_bytes() == b"weights" and download.local(where).name == "i3d.pt"
    source.unlink()
    assert download.local(where).read_bytes() == b"weights"


def test_another_file_than_was_asked_for_is_not_kept(tmp_path, cache):
    source = tmp_path / "i3d.pt"
    source.write_bytes(b"something else")
    with pytest.raises(UserError, match="was asked for; nothing was kept"):
        download.local(f"{source.as_uri()}#sha256={'0' * 64}")
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("https://example.org/i3d.pt", r"say which file it is.*i3d.pt#sha256="),
        ("https://example.org/i3d.pt#sha256=12", "say which file it is"),
        (f"file:///nowhere/i3d.pt#sha256={'0' * 64}", "cannot be fetched"),
    ],
)
def test_what_cannot_be_had_is_told(cache, where, says):
    with pytest.raises(UserError, match=says):
        download.local(where)
