"""Images that run as nobody, install what CI tested, and say whether they live."""

import json
import re
import subprocess
import tomllib
from fnmatch import fnmatch

import pytest
from dockerfile import chain, needed, parse

from deployed import DEPLOY, ROOT

TARGETS = ("train", "serve-cpu", "serve-gpu", "dev")
SERVERS = ("serve-cpu", "serve-gpu")


def last(stages, target: str, word: str) -> str:
    return [one.text for stage in chain(stages, target) for one in stage.all(word)][-1]


def pip_commands(stages) -> list[str]:
    runs = [one.text for stage in stages.values() for one in stage.all("RUN")]
    return [part.strip() for run in runs for part in run.split(" && ") if part.strip().startswith("pip install")]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_runs_as_somebody_who_is_not_root(stages, target):
    user, _, group = last(stages, target, "USER").partition(":")
    assert int(user) > 0 and int(group) > 0
    words = [one.word for stage in chain(stages, target) for one in stage.instructions]
    assert "RUN" not in words[words.index("USER") :], "a step after USER would run without root's rights"


def test_base_images_are_pinned(stages):
    images = {stage.base for stage in stages.values() if stage.base not in stages}
    assert images
    for image in images:
        assert re.search(r":\d+\.\d+\.\d+\S*$|@sha256:[0-9a-f]{64}$", image), f"{image} names no exact version"


def test_pip_installs_only_versions_that_are_tested(stages):
    commands = pip_commands(stages)
    assert len(commands) >= 6
    for command in commands:
        pinned = "-c constraints.txt" in command or all("==" in word for word in command.split()[2:])
        assert pinned, f"`{command}` takes whatever version is newest"


def test_torch_of_the_cpu_image_is_the_only_thing_from_its_index(stages):
    foreign = [command for command in pip_commands(stages) if "index-url" in command]
    assert foreign == ["pip install --no-deps -c constraints.txt --index-url ${TORCH_CPU_INDEX} torch"]


def test_extras_that_are_installed_exist(stages):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {
        extra
        for command in pip_commands(stages)
        for found in re.findall(r"\[([\w,]+)\]", command)
        for extra in found.split(",")
    }
    assert asked and asked <= extras.keys()


@pytest.mark.parametrize("target", SERVERS)
def test_server_is_asked_whether_it_lives_at_the_port_that_it_serves(stages, target):
    command = json.loads(last(stages, target, "CMD"))
    port = command[command.index("--port") + 1]
    assert command[0] == "serve" and command[command.index("--host") + 1] == "0.0.0.0"
    assert last(stages, target, "EXPOSE") == port
    check = last(stages, target, "HEALTHCHECK")
    assert f"http://127.0.0.1:{port}/livez" in check
    compile(json.loads(check.partition("CMD ")[2])[2], "HEALTHCHECK", "exec")


def test_only_the_gpu_image_asks_for_a_gpu(stages):
    assert "cuda" in last(stages, "serve-gpu", "CMD")
    assert "cuda" not in last(stages, "serve-cpu", "CMD")


def test_compiler_caches_lie_where_a_read_only_image_can_write(stages):
    said = " ".join(one.text for one in stages["runtime"].all("ENV"))
    assert {"TORCHINDUCTOR_CACHE_DIR=/tmp/inductor", "TRITON_CACHE_DIR=/tmp/triton"} <= set(said.split())


def test_context_holds_what_is_copied_and_nothing_else(stages):
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word for stage in stages.values() for copy in stage.all("COPY") if copy.option("from") is None
        for word in copy.words[:-1]
    }  # fmt: skip
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    for secret in (".env", ".git", "runs", "models", ".venv", "token.txt"):
        assert not any(fnmatch(secret, rule) for rule in let_in)


def test_a_target_is_built_after_all_that_it_takes_from(stages):
    for target in TARGETS:
        order = [stage.name for stage in needed(stages, target)]
        assert order[-1] == target and len(set(order)) == len(order)
        for place, name in enumerate(order):
            sources = {stages[name].base, *(copy.option("from") for copy in stages[name].all("COPY"))}
            assert sources & stages.keys() <= set(order[:place])


def test_parser_joins_lines_and_drops_comments():
    stages = parse("ARG I=a:1\n# no\nFROM ${I} AS x\nRUN one \\\n # no\n && two\nFROM x AS y\nCOPY --from=x /a /b\n")
    assert [stage.base for stage in stages.values()] == ["a:1", "x"]
    assert stages["x"].all("RUN")[0].text == "one && two"
    assert stages["y"].all("COPY")[0].option("from") == "x" and stages["y"].all("COPY")[0].words == ["/a", "/b"]
    with pytest.raises(ValueError, match="heredocs"):
        parse("FROM a AS b\nRUN <<EOF\n")


def test_hadolint_has_nothing_to_say(tool):
    done = subprocess.run([tool("hadolint"), "--no-color", str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout
