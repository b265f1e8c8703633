"""What a replay's report says beside the figures: what the log holds, with which version, and what to be careful about."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from infra.text import printable
from infra.web.report import page
from infra.whole_files import write_whole
from online_models.errors import InputError
from streams import recorded_log
from streams.contracts.events import Event
from streams.replay import Replay
from streams.validate import validate

FEW = 100
"""Moments below which figures say nothing: the standard error of a share is up to 5 points at this many."""

_MAX_WORDS = 32


def facts(job: Replay) -> dict[str, Any]:
    """Version, first and last time (ms) of the events that the job plays, those whose type has no weight, by type, and of a
    deep model that takes part its version and the newest event (ms) that it has seen.
    """
    unknown: Counter[str] = Counter()
    times: list[int] = []
    kept = 0
    for line, raw in enumerate(recorded_log.read(job.path)):
        event = validate(raw, None, event_id=str(line + 1))
        if not isinstance(event, Event):
            continue
        times = [min(event.timestamp, *times[:1]), max(event.timestamp, *times[1:])] if times else [event.timestamp] * 2
        word = event.event_type
        if word not in job.config.weights:
            unknown[word if word in unknown or len(unknown) < _MAX_WORDS else "(other words)"] += 1
        kept += 1
        if kept == job.limit:
            break
    spans = {"from_ms": times[0], "to_ms": times[1]} if times else {}
    live = job.pipeline.versions.live
    model = None if live is None else {"version": live.name, "seen_ms": live.artefact.manifest.newest_ms}
    return {
        "headrace": version("headrace"), **spans, "unknown_types": dict(unknown.most_common()), "model": model,
    }  # fmt: skip


def notes(report: dict[str, Any]) -> list[str]:
    """What a reader of the figures has to know, a line each."""
    lines = []
    if report["scored"] < FEW:
        lines.append(
            f"only {report['scored']:,} moments were judged: these figures say nothing about quality (at least {FEW} are "
            "needed; the first 20 % of a log are learned and not judged)"
        )
    if (model := report["model"]) and model["seen_ms"] >= report["from_ms"]:
        until = datetime.fromtimestamp(model["seen_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        lines.append(
            f"{model['version']} has seen events until {until} (UTC), and this log begins before that: what is judged until then "
            "does not test it, so compare on a later log"
        )
    if report["unknown_types"]:
        words = ", ".join(f"{printable(word)} ({count:,})" for word, count in report["unknown_types"].items())
        example = next(iter(report["unknown_types"]))
        lines.append(
            f"nothing was learned from event types without a weight: {words}. Give them one in the settings file (--config): "
            f"table [pipeline.weights] with {msgspec.json.encode(example).decode()} = 1.0 and every other type that counts, since it "
            "replaces the default table"
        )
    if report["rejected"]:
        lines.append("refused records: " + refused(report))
    for key, what in (("duplicates", "repeated event ids, dropped"), ("late", "events older than the one before them")):
        if report[key]:
            lines.append(f"{report[key]:,} {what}")
    return lines


def refused(report: dict[str, Any]) -> str:
    """The reasons for which records were refused, with the first line of each."""
    return ", ".join(
        f"{count:,} {reason} (first: line {report['rejected_first_line'][reason]})"
        for reason, count in sorted(report["rejected"].items(), key=lambda item: -item[1])
    )


def no_events(report: dict[str, Any], log: str) -> InputError:
    """What to say of a log without a single valid event."""
    reasons = report["rejected"]
    remedy = "docs/records.md says what an event is"
    if not reasons:
        remedy = "the file is empty: make a log with `headrace import`"
    elif max(reasons, key=reasons.get) == "not_json":
        remedy = (
            f"make a log of other files first: `headrace import csv {log} -o log.jsonl.gz` (see `headrace import -h`)"
        )
    return InputError(
        "a recorded log with at least one valid event", f"none in {log}: {refused(report) or 'no records'}", remedy
    )


def outputs(report_out: str) -> tuple[Path, Path]:
    """Where the report and its page go. Raises InputError, before anything is played, where they cannot stand."""
    out = Path(report_out)
    if out.is_dir() or out.suffix == ".html":
        raise InputError("a file name for the report such as report.json", str(out), "choose another name")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError("an existing folder for the report", str(out.parent), "create it first, or choose another")
    return out, out.with_suffix(".html")


def write(report: dict[str, Any], report_out: str) -> str:
    """Write report and page; returns a line that says where they are."""
    out, html = outputs(report_out)
    write_whole(out, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    write_whole(html, page(report, notes(report)).encode())
    return f"report: {out}, page with the curves: {html}"
