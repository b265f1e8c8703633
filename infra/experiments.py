"""Experiments from a file to the topic and back: YAML definitions, the present state, records for the workers."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import yaml

from infra import models, topic_reading, topics
from infra.experiment_faults import A_TIME, TIMES, fault_in
from infra.settings import Settings
from online_models.errors import InputError
from streams import experiment_rules
from streams.contracts.experiments import Definition, Experiment, as_text
from streams.contracts.models import Announcement
from streams.contracts.reading import UNREADABLE
from streams.experiment_feed import fold, read_experiment
from streams.experiments import NO_MODEL

EARLIEST = 100_000_000_000
"""ms since the epoch, in 1973: a time before it was meant in seconds."""


def definition_of(text: str, where: str) -> Definition:
    """An experiment written in YAML (JSON is YAML too); times may be dates. Raises InputError that names the place."""
    try:
        table = _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise InputError("YAML", f"{getattr(error, 'problem', None) or error} in {place}", "correct it") from None
    if isinstance(table, dict):
        table = {key: _milliseconds(value) if key in TIMES else value for key, value in table.items()}
        if isinstance(context := table.get("context"), dict):
            table["context"] = {key: _texts(values) for key, values in context.items()}
    fault = fault_in(table, where)
    if fault is not None:
        raise fault
    for name in TIMES:
        if (value := table.get(name)) is not None and value < EARLIEST:
            raise InputError(
                A_TIME, f"{value} at {name} in {where}", "write a date; seconds are to be multiplied by 1000"
            )
    definition = msgspec.convert(table, Definition)
    try:
        msgspec.json.encode(definition)
    except UnicodeEncodeError as error:
        raise InputError("text of whole characters", f"half of a surrogate pair in {where}", "correct it") from error
    return definition


class _Loader(yaml.SafeLoader):
    """Only true and false are truth values: country codes (`no`) and switches (`on`, `off`) stay text. A key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Raises a YAML error where a key stands twice: YAML forbids it, and the library takes the last."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} a second time", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    yaml_implicit_resolvers = {  # noqa: RUF012
        letter: [(tag, known) for tag, known in found if letter in "tTfF" or not tag.endswith(":bool")]
        for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _texts(values: Any) -> Any:
    """Truth values and numbers that a context may have, as they are compared."""
    return [v if isinstance(v, str) else as_text(v) or v for v in values] if isinstance(values, list) else values


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
    arms = settings.pipeline.isolated_arms
    return experiment_rules.begin(definition, present, lists_of(settings), versions, now_ms(), arms)


def by_itself(settings: Settings, definition: Definition) -> Experiment:
    """The experiment that a definition begins if nothing that runs speaks against it, and if the versions of the deep model that it
    names were announced: no broker is asked. Raises InputError where the definition itself is at fault."""
    named = {v.model for v in definition.variants if v.model is not None}
    now = now_ms()
    experiment_rules.check_alone(definition, lists_of(settings), named, now, settings.pipeline.isolated_arms)
    return experiment_rules.alone(definition, now)


def lists_of(settings: Settings) -> tuple[str, ...]:
    """Names of the candidate lists under these settings."""
    from streams.knowledge import Knowledge

    return Knowledge(settings.pipeline).lists


def read(settings: Settings) -> dict[str, Experiment]:
    """All experiments that the topic tells of, by name. Raises ServiceError where it is missing."""
    found: dict[str, Experiment] = {}
    for record in topic_reading.records(settings, settings.topics.experiments):
        try:
            fold(found, record.key, record.value)
        except (*UNREADABLE, ValueError):
            continue  # left out by the workers too, who say so
    return found


def find(experiments: Mapping[str, Experiment], name: str) -> Experiment:
    """One of them. Raises InputError that names all."""
    if name not in experiments:
        names = ", ".join(sorted(experiments)) or "none yet"
        raise InputError(f"one of the experiments ({names})", repr(name), "see `headrace experiment list`")
    return experiments[name]


def write(settings: Settings, experiment: Experiment) -> Experiment:
    """Tell the workers, and wait until the broker has it. Returns what holds then: not this one where somebody stopped or ramped the
    experiment meanwhile. Raises InputError where what is to be changed was deleted."""
    name = experiment.definition.name
    key, value = name.encode(), msgspec.json.encode(experiment)
    read_experiment(key, value)  # no record that workers would refuse
    if experiment.changed > experiment.created:
        there = read(settings).get(name)
        if there is None or there.created != experiment.created:
            found = "that it was deleted meanwhile" + ("" if there is None else ", and another one begun")
            raise InputError(f"{name} as it was read", found, "see `headrace experiment list`")
    _send(settings, key, value)
    sent = experiment
    while (holds := read(settings).get(name, sent)) != sent:
        # Workers refuse the record, or took only the stop of it, but it would be the one that compaction leaves.
        _send(settings, key, msgspec.json.encode(holds))
        sent = holds
    return sent


def forget(settings: Settings, name: str) -> None:
    """Take an experiment off the topic, and wait until the broker has that."""
    _send(settings, name.encode(), None)


def _send(settings: Settings, key: bytes, value: bytes | None) -> None:
    with topics.producer(settings) as client:
        sent = client.send(settings.topics.experiments, value=value, key=key)
        topics.acknowledged(sent)


def now_ms() -> int:
    """Milliseconds since the epoch, by this machine's clock."""
    return time.time_ns() // 1_000_000
