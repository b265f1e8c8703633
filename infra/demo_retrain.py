"""The demo's retraining: archive, train, gate and publish as commands beside the stream, and what the workers make of the version."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from infra import archive, local, models, topics
from infra.demo import last_line
from infra.settings import Settings, environment_of
from infra.worker_pages import Comparison
from online_models.errors import ServiceError
from streams.contracts.models import Announcement, WorkerStatus

INSTALL = "pip install 'headrace[offline]'"
MODEL = "gru4rec"
QUICK = ("dims=64", "lr=0.006", "schedule=linear", "tokens=512", "negatives=1024", "alpha=0", "threads=1")
"""Settings with which some ten thousand grocery purchases are learned in seconds, with one thread: the workers need the cores."""
EPOCHS = 10
MARGIN = 0.02
"""Share that it may be worse than popularity."""
TRIAL = """# A short trial, so that it comes to its end while the demo runs; see docs/configuration.md for the usual one.
[pipeline.trial]
compared = 1.0
users = 0.5
shadow = 100
most = 400
margin = 0.02
"""
NICE = ("nice", "-n", "10")
ON_TRIAL = ("shadow", "canary", "promoted", "kept")
PATIENCE_S = 120.0
"""So long the rest of the log waits for a version; then it is played as if there were none."""


def missing() -> str | None:
    """What has to be installed before a model can be trained; None if nothing."""
    return None if all(find_spec(name) for name in ("torch", "fsspec", "pyarrow")) else INSTALL


def quick_trial(folder: Path) -> Path:
    """A settings file for the workers of a demo."""
    path = folder / "trial.toml"
    path.write_text(TRIAL)
    return path


class _Verdict(msgspec.Struct):
    faults: list[str]


def _faults(raw: bytes) -> str:
    """What the gate says against a model; empty if it was not asked.

    >>> _faults(b'{"version": "a-1", "faults": ["hr@20 0.01 against 0.02", "too few directions"]}')
    'hr@20 0.01 against 0.02; too few directions'
    >>> _faults(b"")
    ''
    """
    try:
        return "; ".join(msgspec.json.decode(raw, type=_Verdict).faults)
    except msgspec.DecodeError:
        return ""


class _Stopped(Exception):
    pass


class Retrain:
    """One round in the background. Leaving the context ends it, with the command that runs just then."""

    def __init__(self, settings: Settings, folder: Path, config: Path | None) -> None:
        self._folder, self._archive = folder, archive.default_folder(settings)
        self._environ = environment_of(settings, config) | {"OMP_NUM_THREADS": "1"}
        self._lock = threading.Lock()
        self._stopped = False
        self._task: local.Service | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="retrain")
        self.step = ""
        """The command that runs; empty before the first one and after the last one."""
        self.began: float | None = None
        self.step_began = self.trained_s = 0.0
        self.failure = ""
        self.announcement: Announcement | None = None

    def __enter__(self) -> Retrain:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True
            if self._task is not None:
                self._task.stop()
        if self.began is not None:
            self._thread.join(timeout=5)

    def start(self) -> None:
        """Begin the round."""
        self.began = time.monotonic()
        self._thread.start()

    def _run(self) -> None:
        model, log = str(self._folder / "model"), str(self._archive)
        settings = [word for value in QUICK for word in ("--set", value)]
        training = ("--model", MODEL, "--epochs", str(EPOCHS), "--device", "cpu", *settings)
        try:
            self._command("archive", "--once")
            self._command("train", "--log", log, "--out", model, *training)
            self.trained_s = time.monotonic() - self.step_began
            self._gate(model, log)
            self.announcement = msgspec.json.decode(self._command("publish-model", model, "--json"), type=Announcement)
        except _Stopped:
            pass
        except Exception as error:
            self.failure = str(error)
        self.step = ""

    def _gate(self, model: str, log: str) -> None:
        """Raises ServiceError, with what is wrong with the model, if the gate refuses it."""
        try:
            self._command("gate", model, "--popularity", "--log", log, "--margin", str(MARGIN), "--json")
        except ServiceError as error:
            found = _faults((self._folder / "gate.out").read_bytes())
            if not found:
                raise
            raise ServiceError("a model that the gate lets pass", found, "play more events") from error

    def _command(self, name: str, *arguments: str) -> bytes:
        """What ``headrace NAME`` prints. Raises ServiceError, with the last line that it said, if it fails."""
        log, result = self._folder / f"{name}.log", self._folder / f"{name}.out"
        line = [*NICE, sys.executable, "-m", "infra.cli", name, *arguments]
        with self._lock:
            if self._stopped:
                raise _Stopped
            self.step, self.step_began = name, time.monotonic()
            self._task = task = local.start_task(name, line, log, result, self._environ)
        with task:
            status = task.process.wait()
        if self._stopped:
            raise _Stopped
        if status:
            raise ServiceError(f"headrace {name} to succeed", last_line(log), "see the message")
        return result.read_bytes()

    def coming(self, workers: Iterable[WorkerStatus]) -> bool:
        """Whether a version is still to be waited for: none has failed, and not all workers have it on trial."""
        if self.failure or (self.began is not None and time.monotonic() - self.began > PATIENCE_S):
            return False
        if self.announcement is None:
            return True
        version = self.announcement.version
        steps = [w.step if w.candidate == version else "" for w in workers if w.live != version]
        return not steps or not all(step in (*ON_TRIAL, "refused") for step in steps)


class ModelWatch:
    """Follows announcements, decisions and the workers' steps, by a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models = models.Models(settings.topics)
        self._lock = threading.Lock()

    def _take(self, records: list[Any]) -> None:
        with self._lock:
            self._models.take(records)

    @contextmanager
    def running(self) -> Iterator[ModelWatch]:
        """Watch in the background."""
        names = self._settings.topics
        with topics.followed(self._settings, self._take, names.models, names.model_decisions, names.model_status):
            yield self

    @property
    def overview(self) -> models.Overview:
        """As of now."""
        with self._lock:
            return self._models.overview


def doing(retrain: Retrain, overview: models.Overview, compared: Comparison | None, now: Callable[[], float]) -> str:
    """Where the version is, in a line."""
    if retrain.failure:
        return f"not published: {retrain.failure}"
    if retrain.step:
        what = {
            "archive": "archiving the events",
            "train": f"training {MODEL} on them",
            "gate": "gate: beside popularity",
        }
        return f"{what.get(retrain.step, 'publishing')} ({now() - retrain.step_began:.0f} s)"
    found = next((v for v in overview.versions if v.decision is not None or v.state == "on trial"), None)
    if found is None or retrain.announcement is None:
        return "announced" if retrain.announcement else "trained when half of the log has been played"
    if found.decision is not None:
        return f"{found.decision.state.replace('_', ' ')} after {found.decision.moments or 0:,} compared moments"
    steps = [w.step for w in overview.workers if w.candidate == found.version]
    told = f" ({difference(compared)}, {compared.moments:,} moments)" if compared else ""
    return "workers: " + (", ".join(steps) or "not yet aware of it") + told


def difference(found: Comparison) -> str:
    """Of NDCG@20, with its interval.

    >>> difference(Comparison(moments=9, mean=0.0123, low=-0.001, high=0.02))
    'NDCG@20 +0.0123, interval -0.0010 to +0.0200'
    """
    return f"NDCG@20 {found.mean:+.4f}, interval {found.low:+.4f} to {found.high:+.4f}"
