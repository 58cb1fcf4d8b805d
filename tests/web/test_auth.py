import pytest

from roadcast.errors import UserError
from roadcast.web.auth import Rate, Tokens, bearer, same_site, subprotocol

TOKEN = "a-token-of-sixteen-or-more"


def test_a_token_is_known_by_its_holder_and_not_kept():
    tokens = Tokens({"ann": TOKEN, "bob": TOKEN[::-1]})
    assert (tokens.holder(TOKEN), tokens.holder(TOKEN[::-1])) == ("ann", "bob")
    assert [tokens.holder(wrong) for wrong in (None, "", TOKEN[:-1], TOKEN + " ")] == [None] * 4
    assert TOKEN not in repr(vars(tokens))


def test_tokens_of_a_file(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"# who may drive\n\nann {TOKEN}\n")
    assert Tokens.load(file).holder(TOKEN) == "ann"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no token"),
        (f"ann {TOKEN}\nann {TOKEN}x", "line 2 is not NAME TOKEN"),
        ("ann short", "line 1 is not"),
        (TOKEN, "line 1"),
    ],
)
def test_a_bad_file_is_named_without_its_secrets(tmp_path, text, says):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(UserError, match=says) as refused:
        Tokens.load(file)
    assert TOKEN not in str(refused.value)
    with pytest.raises(UserError, match="cannot be read"):
        Tokens.load(tmp_path / "none")


def test_a_token_comes_by_header_or_by_subprotocol():
    assert bearer(f"Bearer {TOKEN}") == bearer(None, ["roadcast.v2", f"bearer.{TOKEN}"]) == TOKEN
    assert bearer(f"Basic {TOKEN}") is bearer("Bearer ") is bearer(None, ["roadcast.v2"]) is None
    assert subprotocol(["roadcast.v2", f"bearer.{TOKEN}"]) == "roadcast.v2"
    assert subprotocol(["roadcast.v1"]) is None


def test_pages_of_other_sites_are_told_apart():
    assert same_site(None, "here:8000", ()) and same_site("http://here:8000", "here:8000", ())
    assert not same_site("http://there", "here:8000", ()) and not same_site("null", "here:8000", ())
    assert same_site("https://there", "here:8000", ("https://there",))


def test_a_rate_is_kept_for_each_caller():
    now = [0.0]
    rate = Rate(2.0, burst=3, clock=lambda: now[0])
    assert [rate.wait_s("ann") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.wait_s("bob") == 0
    now[0] = 0.5
    assert rate.wait_s("ann") == 0 and rate.wait_s("ann") == 0.5
    now[0] = 100.0
    assert [rate.wait_s("ann") for _ in range(4)] == [0, 0, 0, 0.5]
