"""The image: pinned, built from what is in the tree, run by nobody in particular, and asked whether it is ready."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.settings import load

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "infra" / "docker" / "Dockerfile").read_text("utf-8")


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and argument, with continued lines joined and comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


ALL = instructions(TEXT)
FINAL = ALL[[i for i, (word, _) in enumerate(ALL) if word == "FROM"][-1] :]


def last(word: str) -> str:
    return [rest for found, rest in FINAL if found == word][-1]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for word, rest in FINAL if word == "ENV" for pair in rest.split())


def test_there_are_two_stages_of_one_pinned_image() -> None:
    images = [rest.split()[0] for word, rest in ALL if word == "FROM"]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", images[0])


def test_the_python_is_one_that_is_supported() -> None:
    found = re.search(r"python:3\.(\d+)\.", TEXT)
    assert found
    assert int(found[1]) >= 10


def test_dependencies_are_constrained() -> None:
    installs = [rest for word, rest in ALL if word == "RUN" and "pip" in rest and " install" in rest]
    assert installs
    assert all("--constraint constraints.txt" in rest or "--no-deps" in rest for rest in installs)


def test_it_does_not_run_as_root_and_can_write_where_it_must() -> None:
    user, _, group = last("USER").partition(":")
    assert (int(user), int(group)) > (0, 0)
    made = next(rest for word, rest in FINAL if word == "RUN" and "install -d" in rest)
    assert f"--uid {user}" in made
    assert {environment()["NUMBA_CACHE_DIR"], environment()["HEADRACE_DATA"]} <= set(made.split())
    assert last("WORKDIR") == environment()["HEADRACE_DATA"]


def test_its_settings_exist() -> None:
    settings = load(environ={k: v for k, v in environment().items() if k.startswith("HEADRACE_")})
    assert settings.web_address == ("0.0.0.0", int(last("EXPOSE")))  # noqa: S104


def test_it_is_the_command() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["headrace"]
    assert json.loads(last("CMD")) == ["worker"]


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    sent = {line[1:] for line in rules if line.startswith("!")}
    copied = {source for word, rest in ALL if word == "COPY" and "--from" not in rest for source in rest.split()[:-1]}
    assert copied - {"."} <= sent
    assert [name for name in sorted(sent) if not (ROOT / name).exists()] == []
    left_out = [line.removeprefix("**/") for line in rules[1:] if not line.startswith("!")]
    for name in ("__pycache__", "a.pyc", "pipeline._x-1.py311.nbi", "pipeline._x-1.py311.1.nbc"):
        assert any(fnmatch.fnmatch(name, rule) for rule in left_out)


def test_all_that_the_build_reads_is_sent() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    sent = (ROOT / ".dockerignore").read_text("utf-8")
    for name in ("README.md", "LICENSE"):
        assert name in project
        assert f"!{name}" in sent
    for package in re.findall(r'"(\w+)\*"', re.findall(r"include = \[(.*)\]", project)[0]):
        assert f"!{package}\n" in sent


@pytest.fixture(params=[200, 503])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, list[str]]]:
    """A stand-in for a worker: port, the status it gives, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http.server_port, request.param, asked
        http.shutdown()
        thread.join()


def test_the_health_check_asks_whether_it_is_ready(server: tuple[int, int, list[str]]) -> None:
    port, status, asked = server
    command = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    assert command[0] == "python"
    # A proxy of the container's environment must not come between.
    environ = {"HEADRACE_WEB": f"0.0.0.0:{port}", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, *command[1:]], env=environ, capture_output=True, check=False)
    assert (done.returncode == 0) == (status == 200), done.stderr
    assert asked == ["/readyz"]
