"""Reads source without running it and says where it breaks a rule of the architecture; used by test_architecture."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("streams", "online_models", "offline", "infra")
STDLIB = frozenset(sys.stdlib_module_names)
ANY = ("*",)


@dataclass(frozen=True)
class Rule:
    """What the modules of ``package`` may import: modules of ours, and top-level modules of others."""

    package: str
    ours: tuple[str, ...]
    others: tuple[str, ...] = ANY


# The first rule whose package a file belongs to is the one that counts.
IMPORTS = (
    Rule("streams.contracts", ("streams.contracts",), ("msgspec",)),
    Rule("streams", ("streams", "online_models")),
    Rule("online_models", ("online_models",), ("numpy", "numba", "llvmlite", "river", "scipy", "faiss", "xxhash")),
    Rule(
        "offline",
        (
            *("offline", "streams.contracts"),
            *("online_models.embeddings", "online_models.metrics", "online_models.errors"),
        ),
    ),
    Rule("infra", PACKAGES),
)
ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "faust": ("streams/app/", "streams/agents/", "streams/agents.py"),
    "mode": ("streams/app/", "streams/agents/", "streams/agents.py"),
    "redis": ("streams/stores.py", "infra/"),
    "torch": ("offline/",),
}
CODE_AS_DATA = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"})
UNSAFE_CALLS = {
    "eval": "runs its argument",
    "exec": "runs its argument",
    "compile": "makes code of its argument",
    "yaml.load": "can make any object; use yaml.safe_load",
    "yaml.unsafe_load": "can make any object; use yaml.safe_load",
    "yaml.full_load": "can make any object; use yaml.safe_load",
}
UNSAFE_FLAGS = {("allow_pickle", True), ("weights_only", False)}
ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
SETTINGS = "infra/settings.py"

DISTRIBUTIONS = {"faust": "faust-streaming", "mode": "faust-streaming", "kafka": "kafka-python", "faiss": "faiss-cpu"}
DISTRIBUTIONS |= {"llvmlite": "numba", "yaml": "pyyaml"}
"""Top-level module → distribution that brings it, where the two names differ."""


@dataclass(frozen=True)
class Finding:
    """A broken rule: file (relative), line, and what is wrong there."""

    path: str
    line: int
    fault: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.fault}"


@dataclass(frozen=True)
class Import:
    """One imported name, fully dotted. ``lazy``: not run when the module is loaded."""

    name: str
    line: int
    lazy: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Source:
    """A parsed file; ``path`` is relative to the project's root, with slashes."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> list[str]:
        parts = self.module.split(".")
        return parts if self.path.endswith("/__init__.py") else parts[:-1]


def sources(root: Path, folders: tuple[str, ...] = PACKAGES) -> list[Source]:
    """All Python files of the folders."""
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            found.append(Source(path.relative_to(root).as_posix(), text, ast.parse(text)))
    return found


def imports(source: Source) -> Iterator[Import]:
    """Every import of a file, also in functions, under ``TYPE_CHECKING``, relative, or by ``import_module("name")``."""
    yield from _imports(source, source.tree, lazy=False)


def _imports(source: Source, node: ast.AST, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = source.package[: len(source.package) - child.level + 1] if child.level else []
            base = ".".join([*above, *([child.module] if child.module else [])])
            yield from (Import(f"{base}.{alias.name}", child.lineno, lazy) for alias in child.names)
        elif isinstance(child, ast.Call) and _dotted(child.func).rpartition(".")[2] in ("import_module", "__import__"):
            named = child.args[0] if child.args else None
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield Import(named.value, child.lineno, lazy)
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or _type_checking(child)
        yield from _imports(source, child, lazy or inside)


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _dotted(node.test).rpartition(".")[2] == "TYPE_CHECKING"


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def forbidden_imports(source: Source) -> Iterator[Finding]:
    """Imports against the table, or of what belongs in one place only."""
    rule = next(rule for rule in IMPORTS if _within(source.module, rule.package))
    for found in imports(source):
        if found.top in PACKAGES:
            if not any(_within(found.name, module) for module in rule.ours):
                allowed = ", ".join(rule.ours)
                yield Finding(source.path, found.line, f"imports {found.name}; {rule.package} may: {allowed}")
        elif found.top not in STDLIB:
            if rule.others != ANY and found.top not in rule.others:
                allowed = ", ".join(rule.others)
                yield Finding(source.path, found.line, f"imports {found.name}; {rule.package} may: {allowed}")
            places = ONLY_IN.get(found.top)
            if places and not source.path.startswith(places):
                yield Finding(source.path, found.line, f"imports {found.name}; only {' or '.join(places)} may")


def code_as_data(source: Source) -> Iterator[Finding]:
    """Whatever turns data into code."""
    for found in imports(source):
        if found.top in CODE_AS_DATA:
            yield Finding(source.path, found.line, f"imports {found.name}: what it reads can run code")
        if found.name in UNSAFE_CALLS:
            yield Finding(source.path, found.line, f"imports {found.name}: {UNSAFE_CALLS[found.name]}")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = _dotted(node.func).removeprefix("builtins.")
            if name in UNSAFE_CALLS:
                yield Finding(source.path, node.lineno, f"{name}() {UNSAFE_CALLS[name]}")
            for keyword in node.keywords:
                if isinstance(keyword.value, ast.Constant) and (keyword.arg, keyword.value.value) in UNSAFE_FLAGS:
                    yield Finding(source.path, node.lineno, f"{keyword.arg}={keyword.value.value!r} reads pickles")


def environment(source: Source) -> Iterator[Finding]:
    """Reading the environment anywhere but in the settings."""
    if source.path == SETTINGS:
        return
    remedy = f"only {SETTINGS} reads the environment; pass a setting"
    for found in imports(source):
        if found.name in {f"os.{name}" for name in ENVIRONMENT}:
            yield Finding(source.path, found.line, f"imports {found.name}; {remedy}")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and _dotted(node.value) == "os":
            yield Finding(source.path, node.lineno, f"os.{node.attr}; {remedy}")
        if isinstance(node, ast.keyword) and node.arg in ("envvar", "auto_envvar_prefix"):
            yield Finding(source.path, node.value.lineno, f"{node.arg}=; {remedy}")


def patterns(source: Source) -> Iterator[Finding]:
    """Patterns of fields that end with ``$``: it also matches before a last newline."""
    for node in ast.walk(source.tree):
        written = node.value if isinstance(node, ast.keyword) and node.arg == "pattern" else None
        if isinstance(written, ast.Constant) and str(written.value).endswith("$"):
            yield Finding(source.path, written.lineno, r"a pattern that ends with $: \Z is the end")


def docstrings(source: Source) -> Iterator[Finding]:
    """Modules that do not say what they are."""
    if not (ast.get_docstring(source.tree) or "").strip():
        yield Finding(source.path, 1, "no docstring: say in a line what the module is")


def undeclared(source: Source, required: frozenset[str], optional: frozenset[str]) -> Iterator[Finding]:
    """Imports of what pyproject.toml does not name; of extras while the module loads (``offline`` needs its own).

    A script that runs in an environment of its own names what it needs itself, in a block ``# /// script`` (PEP 723).
    """
    block = re.search(r"^# /// script\n(?:# .*\n)*?# ///$", source.text, re.MULTILINE)
    required |= frozenset(map(normal, re.findall(r'"([^"]+)"', block[0]))) if block else frozenset()
    for found in imports(source):
        if found.top in STDLIB or found.top in PACKAGES:
            continue
        name = normal(DISTRIBUTIONS.get(found.top, found.top))
        if name not in required | optional:
            yield Finding(source.path, found.line, f"imports {found.top}; name {name} in pyproject.toml")
        elif name not in required and not found.lazy and not source.path.startswith("offline/"):
            yield Finding(source.path, found.line, f"imports {found.top} of an extra; import it where it is used")


def normal(requirement: str) -> str:
    """The distribution's name of a requirement, as registries compare names.

    >>> normal("Redis[hiredis]>=5"), normal("prometheus_client")
    ('redis', 'prometheus-client')
    """
    word = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", word[0]).lower() if word else ""


def length(source: Source, limit: int, allowed: Mapping[str, str]) -> Iterator[Finding]:
    """Files that are too long and not allowed to be, and allowances that are no longer needed."""
    lines = len(source.text.splitlines())
    if lines > limit and source.path not in allowed:
        yield Finding(source.path, lines, f"{lines} lines, expected at most {limit}: two concepts in one file?")
    if lines <= limit and source.path in allowed:
        yield Finding(source.path, lines, f"{lines} lines: take it off the list of long files")


Check = Callable[[Source], Iterator[Finding]]
CODE_CHECKS: tuple[Check, ...] = (forbidden_imports, code_as_data, environment, patterns)
CHECKS: tuple[Check, ...] = (*CODE_CHECKS, docstrings)
