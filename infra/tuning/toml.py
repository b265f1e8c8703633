"""Settings as a TOML file that ``--config`` reads: what differs from the defaults, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from streams.config import PipelineConfig

WHOLE = frozenset({"weights"})
"""Tables that a file replaces as a whole."""


def written(config: PipelineConfig, comments: list[str]) -> str:
    """The file's text, with ``comments`` at its top.

    >>> from streams.config import BlendConfig
    >>> print(written(PipelineConfig(k=10, blend=BlendConfig(lr=0.05)), ["made up"]), end="")
    # made up
    <BLANKLINE>
    [pipeline]
    k = 10
    <BLANKLINE>
    [pipeline.blend]
    lr = 0.05
    """
    here, plain = msgspec.to_builtins(config), msgspec.to_builtins(PipelineConfig())
    lines = [f"# {line}" for line in comments]
    for name, table in _tables("pipeline", here, plain):
        lines += ["", f"[{name}]", *(f"{_key(key)} = {_text(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _tables(name: str, here: Mapping[str, Any], plain: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    own = {k: v for k, v in here.items() if not isinstance(v, dict) and v != plain.get(k)}
    found = [(name, own)] if own else []
    for key, value in here.items():
        if not isinstance(value, dict) or value == plain.get(key):
            continue
        if key in WHOLE:
            found.append((f"{name}.{key}", value))
        else:
            found += _tables(f"{name}.{key}", value, plain[key])
    return found


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "a").replace("-", "a").isalnum() else _text(key)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, str):
        # A basic string of TOML is one of JSON, but that DEL has to be escaped too.
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    return repr(value)
