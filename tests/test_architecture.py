"""The architecture's rules hold in all source, and each check finds a violation that is planted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import rules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIRED = frozenset(map(rules.normal, PROJECT["dependencies"]))
OPTIONAL = frozenset(rules.normal(name) for names in PROJECT["optional-dependencies"].values() for name in names)

LIMIT = 320
LONG: dict[str, str] = {}
"""Files that may be longer than the limit, and why."""


def told(findings: Iterable[rules.Finding]) -> str:
    return "\n".join(map(str, findings))


@pytest.fixture(scope="module")
def ours() -> list[rules.Source]:
    found = rules.sources(ROOT)
    assert {source.path.partition("/")[0] for source in found} == set(rules.PACKAGES)
    return found


@pytest.mark.parametrize("check", rules.CHECKS, ids=lambda check: check.__name__)
def test_all_source_keeps_the_rule(check: rules.Check, ours: list[rules.Source]) -> None:
    assert told(finding for source in ours for finding in check(source)) == ""


def test_third_party_modules_are_declared(ours: list[rules.Source]) -> None:
    assert told(finding for source in ours for finding in rules.undeclared(source, REQUIRED, OPTIONAL)) == ""
    tests = [source for source in rules.sources(ROOT, ("tests",)) if source.path != "tests/test_architecture.py"]
    missing = [
        str(finding)
        for source in tests
        for finding in rules.undeclared(source, REQUIRED | OPTIONAL, frozenset())
        if not finding.fault.startswith("imports tests;")
    ]
    assert missing == []


def test_no_file_is_too_long() -> None:
    everything = rules.sources(ROOT, (*rules.PACKAGES, "tests"))
    assert told(finding for source in everything for finding in rules.length(source, LIMIT, LONG)) == ""
    assert LONG.keys() <= {source.path for source in everything}


PLANTED = [
    ("streams/contracts/x.py", "from ..pipeline import Pipeline", "imports streams.pipeline.Pipeline"),
    ("streams/contracts/x.py", "import numpy", "imports numpy"),
    ("streams/contracts/x.py", "from online_models import errors", "imports online_models.errors"),
    ("online_models/x.py", "from streams.contracts.events import Event", "imports streams.contracts.events.Event"),
    ("online_models/x.py", "import msgspec", "imports msgspec"),
    ("online_models/a/x.py", "from ...streams import config", "imports streams.config"),
    ("streams/x.py", "import infra.settings", "imports infra.settings"),
    ("streams/x.py", "from offline import train", "imports offline.train"),
    ("streams/x.py", "def f():\n    import infra.settings", "x.py:2: imports infra.settings"),
    ("streams/x.py", "if TYPE_CHECKING:\n    from infra.settings import Settings", "x.py:2: imports infra.settings"),
    ("streams/x.py", "if typing.TYPE_CHECKING:\n    import faust", "only streams/app/"),
    ("streams/x.py", "import importlib\nimportlib.import_module('infra.settings')", "imports infra.settings"),
    ("streams/x.py", "import faust", "only streams/app/"),
    ("streams/x.py", "from mode import Service", "only streams/app/"),
    ("streams/appendix.py", "import faust", "only streams/app/"),
    ("streams/x.py", "async def f():\n    import redis.asyncio", "only streams/stores.py"),
    ("streams/web.py", "import redis", "only streams/stores.py"),
    ("streams/app/x.py", "import torch", "only offline/"),
    ("infra/x.py", "import torch.nn", "only offline/"),
    ("online_models/x.py", "try:\n    import torch\nexcept ImportError:\n    pass", "only offline/"),
    ("offline/x.py", "import streams.pipeline", "imports streams.pipeline"),
    ("offline/x.py", "from online_models.popularity import Popularity", "imports online_models.popularity.Popularity"),
    ("offline/x.py", "import online_models", "imports online_models;"),
    ("offline/x.py", "from infra import settings", "imports infra.settings"),
    ("offline/x.py", "import faust", "only streams/app/"),
    ("offline/x.py", "import pickle", "imports pickle"),
    ("infra/x.py", "from marshal import loads", "imports marshal.loads"),
    ("infra/x.py", "def f(t):\n    return eval(t)", "x.py:2: eval()"),
    ("infra/x.py", "import builtins\nbuiltins.exec('1')", "exec() runs"),
    ("infra/x.py", "import yaml\nyaml.load('')", "yaml.load()"),
    ("infra/x.py", "from yaml import unsafe_load", "imports yaml.unsafe_load"),
    ("infra/x.py", "import numpy\nnumpy.load('a', allow_pickle=True)", "allow_pickle=True"),
    ("offline/x.py", "import torch\ntorch.load('a', weights_only=False)", "weights_only=False"),
    ("infra/x.py", "import os\nA = os.environ['A']", "os.environ"),
    ("infra/cli/settings.py", "import os\nA = os.getenv('A')", "os.getenv"),
    ("streams/x.py", "from os import environ as e", "imports os.environ"),
    ("infra/x.py", "import click\nclick.option('--a', envvar='A')", "envvar="),
    ("streams/x.py", "from msgspec import Meta\nA = Meta(pattern='^a$')", "x.py:2: a pattern that ends with $"),
]


@pytest.mark.parametrize(("path", "text", "fault"), PLANTED)
def test_a_planted_violation_is_found(path: str, text: str, fault: str, tmp_path: Path) -> None:
    [source] = planted(tmp_path, path, text)
    found = told(finding for check in rules.CODE_CHECKS for finding in check(source))
    assert fault in found
    assert found.startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("streams/contracts/x.py", "import msgspec, re\nfrom .events import Event\nfrom . import topics"),
        ("online_models/x.py", "import numpy\nfrom .base import Arrays\nfrom river import optim\nimport faiss"),
        ("streams/x.py", "import aiokafka\nfrom online_models.base import Arrays\nfrom . import contracts"),
        ("streams/app/x.py", "import faust\nfrom mode import Service\nfrom ..pipeline import Pipeline"),
        ("streams/agents.py", "import faust"),
        ("streams/stores.py", "import redis.asyncio"),
        ("infra/x.py", "import redis"),
        ("offline/x.py", "import torch\nfrom online_models import embeddings\nfrom streams.contracts import events"),
        ("infra/x.py", "from offline import train\nimport streams.app\nimport online_models.base"),
        ("infra/settings.py", "import os\nA = os.environ"),
        (
            "infra/x.py",
            "import yaml, re\nyaml.safe_load('')\nre.compile('a')\nb.environ\nnp.load('a', allow_pickle=False)",
        ),
    ],
)
def test_what_is_allowed_is_not_reported(path: str, text: str, tmp_path: Path) -> None:
    [source] = planted(tmp_path, path, text)
    assert told(finding for check in rules.CODE_CHECKS for finding in check(source)) == ""


@pytest.mark.parametrize("text", ["", "import os", '""" """', "x = 1\n'''late'''"])
def test_a_module_without_a_docstring_is_found(text: str, tmp_path: Path) -> None:
    [source] = planted(tmp_path, "infra/a/__init__.py", text)
    assert "no docstring" in told(rules.docstrings(source))


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("streams/x.py", "import pandas", "name pandas in pyproject.toml"),
        ("streams/x.py", "def f():\n    import sklearn.metrics", "name sklearn in pyproject.toml"),
        ("streams/x.py", "import pyarrow", "pyarrow of an extra"),
        ("streams/x.py", "def f():\n    import pyarrow", ""),
        ("streams/x.py", "if TYPE_CHECKING:\n    import pyarrow", ""),
        ("streams/app/x.py", "import faust, kafka, prometheus_client, json", ""),
        ("offline/x.py", "import torch", ""),
        ("tests/x.py", '# /// script\n# dependencies = ["gbstats==0.8.0"]\n# ///\nimport gbstats.utils', ""),
        ("tests/x.py", '# /// script\n# dependencies = ["gbstats"]\n# ///\nimport confseq', "name confseq in"),
        ("tests/x.py", '# "gbstats"\nimport gbstats', "name gbstats in"),
    ],
)
def test_an_undeclared_module_is_found(path: str, text: str, fault: str, tmp_path: Path) -> None:
    [source] = planted(tmp_path, path, text)
    required = frozenset({"faust-streaming", "kafka-python", "prometheus-client"})
    found = told(rules.undeclared(source, required, frozenset({"pyarrow", "torch"})))
    assert (fault in found) if fault else not found


def test_long_files_and_stale_allowances_are_found(tmp_path: Path) -> None:
    [source] = planted(tmp_path, "infra/x.py", "\n" * 10)
    assert "10 lines, expected at most 9" in told(rules.length(source, 9, {}))
    assert told(rules.length(source, 9, {"infra/x.py": "a reason"})) == ""
    assert told(rules.length(source, 10, {})) == ""
    assert "off the list" in told(rules.length(source, 10, {"infra/x.py": "a reason"}))


def planted(folder: Path, path: str, text: str) -> list[rules.Source]:
    file = folder / path
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")
    return rules.sources(folder, (*rules.PACKAGES, "tests"))


RIM = ("faust", "mode", "aiokafka", "kafka", "redis", "aiohttp")
EVERYTHING_ONLINE = """
import importlib, pkgutil, streams, online_models
for package in (streams, online_models):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
"""


@pytest.mark.parametrize(
    ("statement", "present", "absent"),
    [
        ("import streams.pipeline", "numba", ("torch", "offline", "infra", *RIM)),
        (
            "import streams.readout.fold, streams.readout.result",
            "streams.readout.join",
            ("torch", "offline", "infra", *RIM),
        ),
        ("import streams.replay", "streams.pipeline", ("torch", "offline", "infra", *RIM)),
        ("import online_models.errors", "online_models", ("numba", "river", "streams")),
        (EVERYTHING_ONLINE, "faust", ("torch", "offline", "infra")),
        ("try:\n    import torch\nexcept ImportError:\n    pass", "torch", ()),
    ],
    ids=["pipeline", "readout", "replay", "errors", "everything online", "it would be seen"],
)
def test_what_is_loaded_at_run_time(statement: str, present: str, absent: tuple[str, ...], tmp_path: Path) -> None:
    """A stand-in for torch is on the path, so that even an import that allows for its absence is seen."""
    (tmp_path / "torch.py").write_text("")
    code = f"import sys\nsys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert present in loaded
    assert [name for name in absent if name in loaded] == []
