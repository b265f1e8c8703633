"""Experiments from a file to the topic and back: YAML definitions, the present state, records for the workers."""

from __future__ import annotations

import re
import reprlib
import time
from collections.abc import Mapping
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import yaml

from infra import models, topics
from infra.settings import Settings
from online_models.errors import InputError
from streams import experiment_rules
from streams.contracts.experiments import Definition, Experiment
from streams.contracts.models import Announcement
from streams.contracts.reading import UNREADABLE
from streams.experiment_feed import read_experiment
from streams.experiments import NO_MODEL


def definition_of(text: str, where: str) -> Definition:
    """An experiment written in YAML (JSON is YAML too); times may be dates. Raises InputError that names the place."""
    try:
        table = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise InputError("YAML", f"{getattr(error, 'problem', None) or error} in {place}", "correct it") from None
    if isinstance(table, dict):
        table = {key: _milliseconds(value) if key in ("start", "end") else value for key, value in table.items()}
    try:
        return msgspec.convert(table, Definition)
    except msgspec.ValidationError as error:
        expected, _, place = str(error).partition(" - at `$")
        found: Any = table
        for key, number in re.findall(r"\.(\w+)|\[(\d+)\]", place):
            found = found[key] if key else found[int(number)]
        at = place.strip("`").lstrip(".") or "the top"
        raise InputError(
            expected.removeprefix("Expected "), f"{reprlib.repr(found)} at {at} of {where}", "correct it"
        ) from None


def _milliseconds(value: Any) -> Any:
    """A date of YAML as ms since the epoch; whoever names no zone means UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        except ValueError:
            return value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return round(value.timestamp() * 1000)
    return value


def read_definition(path: Path) -> Definition:
    """The definition in a file. Raises InputError if there is none that can be read."""
    try:
        return definition_of(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError("a readable YAML file", f"{path} ({reason})", "correct the path") from None


def begun(settings: Settings, definition: Definition, present: Mapping[str, Experiment]) -> Experiment:
    """The experiment that a definition begins among the ``present`` ones. Raises InputError where it must not be."""
    versions: dict[str, Announcement] = {}
    if any(v.model not in (None, NO_MODEL) for v in definition.variants):
        versions = models.read(settings).known
    return experiment_rules.begin(definition, present, lists_of(settings), versions, now_ms())


def lists_of(settings: Settings) -> tuple[str, ...]:
    """Names of the candidate lists under these settings."""
    from streams.knowledge import Knowledge

    return Knowledge(settings.pipeline).lists


def read(settings: Settings) -> dict[str, Experiment]:
    """All experiments that the topic tells of, by name. Raises ServiceError where it is missing."""
    found: dict[str, Experiment] = {}
    for record in topics.records(settings, settings.topics.experiments):
        try:
            if record.value is None:
                found.pop((record.key or b"").decode(), None)
            else:
                experiment = read_experiment(record.key, record.value)
                found[experiment.definition.name] = experiment
        except (*UNREADABLE, ValueError):
            continue  # left out by the workers too, who say so
    return found


def find(experiments: Mapping[str, Experiment], name: str) -> Experiment:
    """One of them. Raises InputError that names all."""
    if name not in experiments:
        names = ", ".join(sorted(experiments)) or "none yet"
        raise InputError(f"one of the experiments ({names})", repr(name), "see `headrace experiment list`")
    return experiments[name]


def write(settings: Settings, experiment: Experiment) -> None:
    """Tell the workers, and wait until the broker has it."""
    key, value = experiment.definition.name.encode(), msgspec.json.encode(experiment)
    read_experiment(key, value)  # no record that workers would refuse
    with topics.producer(settings) as client:
        sent = client.send(settings.topics.experiments, value=value, key=key)
        client.flush()
        sent.get(timeout=30)


def now_ms() -> int:
    """Milliseconds since the epoch, by this machine's clock."""
    return time.time_ns() // 1_000_000
