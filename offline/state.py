"""What one round of the service leaves to the next, and by what it knows whether that is still worth something."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from online_models import embeddings
from online_models.errors import InputError

from .gate import GateConfig
from .job import JobConfig

STATE = "state.json"

_WHERE = ("device", "threads", "compile", "check_s")
"""Settings of the trainer that say where and how it works, not what is learned."""


class State(msgspec.Struct, frozen=True):
    """The folder of the version that was published last, the newest event that a round has decided on (ms), and what a round was
    whose version the gate refused (`mark`); empty if it was not refused. ``busy``: what rounds wait for the end of, since ``busy_ms``."""

    live: str = ""
    seen_ms: int = -1
    refused: str = ""
    busy: str = ""
    busy_ms: int = 0

    @classmethod
    def of(cls, folder: Path) -> State:
        """The state in a folder; that of the first round where there is none."""
        try:
            return msgspec.json.decode((folder / STATE).read_bytes(), type=cls)
        except FileNotFoundError:
            return cls()
        except (OSError, msgspec.DecodeError) as error:
            raise InputError(
                f"the service's state in {folder / STATE}", str(error), "remove it to start anew"
            ) from error

    def keep(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        temporary = folder / f"{STATE}.tmp"
        temporary.write_bytes(msgspec.json.encode(self))
        embeddings.sync(temporary)
        temporary.replace(folder / STATE)


def mark(
    job: JobConfig, catalogue: Path | None, live: str, gate: GateConfig | None = None, repeats: bool = False
) -> str:
    """Eight letters that are others for another model, other settings, another catalogue or another live version (empty: none), and
    where ``repeats`` count.

    >>> mark(JobConfig(), None, "") == mark(msgspec.convert({"train": {"threads": 1}}, JobConfig), None, "")
    True
    >>> mark(JobConfig(), None, "") == mark(JobConfig(model="sasrec"), None, "")
    False
    >>> mark(JobConfig(), None, "") == mark(JobConfig(), None, "", repeats=True)
    False
    """
    plain: dict[str, Any] = msgspec.to_builtins(job)
    for name in _WHERE:
        del plain["train"][name]
    whole = [plain, str(catalogue), live, msgspec.to_builtins(gate), *(["repeats"] if repeats else [])]
    return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()[:8]
