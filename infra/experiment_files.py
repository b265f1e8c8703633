"""Read-outs of recorded files: a log, and the lists that its replay published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import msgspec

from online_models.errors import InputError
from streams import recorded_log
from streams.contracts.events import Source
from streams.contracts.experiments import INTERLEAVED, Experiment
from streams.contracts.reading import UNREADABLE
from streams.readout.fold import MAX_USERS, Readout
from streams.readout.tally import Tally
from streams.readout.units import ListRecord

IN_STEP = 1_000
"""Lines of a log that are read before their lists."""
NAMED = 5
"""Other experiments that are named where the one asked for is not there."""

_decode = msgspec.json.Decoder(ListRecord).decode


def of_files(experiment: Experiment, log: str, published: str, period_s: int, max_users: int = MAX_USERS) -> Tally:
    """The sums of a recorded log and the lists that `headrace replay LOG --published FILE` made of it.

    Raises InputError if the lists answer another log, or none of them was made under the experiment.
    """
    readout = Readout(experiment.definition, period_s, max_users=max_users)
    d, named, variants = experiment.definition, set[str](), set[str]()
    lists = _noting(recorded_log.read(published), d.name, named, variants)
    for line, raw in enumerate(recorded_log.read(log)):
        readout.take_event(raw, Source(0, line), str(line + 1))
        if readout.waiting[0] > IN_STEP:
            some = list(islice(lists, IN_STEP))
            if not some and not readout.ahead_of_events:
                break
            for made in some:
                readout.take_list(made)
    for made in lists:
        readout.take_list(made)
    for _ in range(2):
        readout.caught_up()
    tally = readout.tally()
    if not tally.lists or readout.answered < tally.lists:
        raise InputError(
            f"lists that answer the events of {log}", f"{readout.answered:,} of {tally.lists:,} in {published}",
            "name the log that `headrace replay LOG --published FILE` made them of",
        )  # fmt: skip
    if d.name not in named:
        some_names = ", ".join(sorted(named)[:NAMED])
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        raise InputError(
            f"lists of experiment {d.name}", f"lists of {some_names or 'no experiment'}{more} in {published}",
            "replay the log with --experiment and the file that --file names, or correct `name` in it",
        )  # fmt: skip
    known = {INTERLEAVED} if d.method == "interleave" else {v.name for v in d.variants}
    if strange := variants - known:
        raise InputError(
            f"lists of the variants of {d.name} ({', '.join(sorted(known))})",
            f"those of {', '.join(sorted(strange)[:NAMED])} in {published}",
            "name with --file the definition that the log was replayed with",
        )
    return tally


def lists_in(path: str) -> Iterator[bytes]:
    """The records of a file of lists. Raises InputError where there is no file, and at its end where none of them was a list."""
    remedy = "name a file that `headrace replay LOG --published FILE` made"
    try:
        records = recorded_log.read(path)
    except InputError as error:
        raise InputError("a file of lists", error.actual, remedy) from None
    return _lists(records, path, remedy)


def _lists(records: Iterator[bytes], path: str, remedy: str) -> Iterator[bytes]:
    known, seen = False, 0
    for raw in records:
        seen += 1
        if not known:
            with suppress(*UNREADABLE):
                known = bool(_decode(raw).request_id)
        yield raw
    if not known:
        raise InputError("a file of lists", f"{seen:,} records in {path}, none of which is a list", remedy)


def _noting(lists: Iterator[bytes], name: str, named: set[str], variants: set[str]) -> Iterator[bytes]:
    """The records as they are; the experiments that they name go to ``named``, and the ``variants`` of ``name``."""
    for raw in lists:
        with suppress(*UNREADABLE):
            for exposed in _decode(raw).experiments:
                named.add(exposed.name)
                if exposed.name == name:
                    variants.add(exposed.variant)
        yield raw
