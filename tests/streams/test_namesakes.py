"""An experiment that was deleted, and another one of its name: what the first has shown counts for the second as any time before it."""

from __future__ import annotations

import msgspec
import pytest

from online_models.errors import InputError
from streams.contracts.events import Source
from streams.contracts.experiments import Experiment
from streams.experiment_rules import alone
from streams.pipeline import Pipeline
from streams.readout.fold import Readout
from streams.readout.result import read_out
from streams.readout.tally import Tally
from tests.streams.readout_tape import Tape, definition
from tests.worlds import shop_log

LOG = shop_log(300, users=20, seed=4)
FIRST, SECOND = (alone(definition(), begun) for begun in (1_000, 2_000))


def play() -> list[tuple[bytes, bytes]]:
    """Events, and the lists that answered them: of the first experiment for 200 events, of the second one for the rest."""
    pipeline, out = Pipeline(), []
    for n, event in enumerate(LOG):
        if n in (0, 200):
            pipeline.run_experiments([SECOND if n else FIRST])
        out.append((msgspec.json.encode(event), msgspec.json.encode(pipeline.on_event(event, Source(0, n)))))
    return out


@pytest.fixture(scope="module")
def played() -> list[tuple[bytes, bytes]]:
    return play()


def sums(played: list[tuple[bytes, bytes]], of: Experiment | None) -> Tally:
    readout = Readout(definition(), begun=of.created if of else 0)
    for n, (event, made) in enumerate(played):
        readout.take_event(event, Source(0, n))
        readout.take_list(made)
    return readout.tally()


def shown(tally: Tally) -> float:
    """Lists that count, of all units."""
    return sum(tally.total("ctr", v).totals[1] for v in tally.variants) / 2**32


def test_each_counts_its_own_lists_only(played):
    first, second, either = (sums(played, of) for of in (FIRST, SECOND, None))
    assert (shown(first), shown(second), shown(either)) == (200, 100, 300)
    assert sum(second.entered.values()) == len({e.user_id for e in LOG[200:]})


def test_what_was_before_is_the_covariate_of_the_second(played):
    """Columns of `ctr` are lists clicked and lists, and then the same from before."""
    before = sum(sums(played, SECOND).total("ctr", v).totals[3] for v in ("control", "new")) / 2**32
    assert before == sum(e.user_id in {later.user_id for later in LOG[200:]} for e in LOG[:200])


def test_sums_of_one_are_not_added_to_those_of_the_other(played):
    first, second = (sums(played, of) for of in (FIRST, SECOND))
    second.partitions = {1}
    with pytest.raises(InputError, match="one under definition"):
        first + second
    with pytest.raises(InputError, match="one under definition"):
        Tally.from_plain(first.plain(), definition(), SECOND.created)
    assert Tally.from_plain(first.plain(), definition(), FIRST.created).plain() == first.plain()


def test_lists_that_do_not_say_which_one_count_for_any(played):
    """Those of a replay, and of releases that did not say it."""
    plain = [(event, made.replace(b',"begun":1000', b"").replace(b',"begun":2000', b"")) for event, made in played]
    assert plain != played
    assert sums(plain, SECOND).plain()["cells"] == sums(played, None).plain()["cells"]


@pytest.mark.parametrize("more", [{}, {"exposure": "impression"}, {"method": "bandit"}, {"method": "interleave"}])
def test_lists_in_a_variant_that_the_definition_lacks_are_in_none_and_are_counted(more: dict[str, str]) -> None:
    """Of another experiment of its name, that does not say when it was begun, or of none."""
    right = "interleaved" if "interleave" in more.values() else "new"
    t, names = Tape(), list[str]()
    for n, variant in enumerate((right, "stray", "other", right)):
        names.append(t.add(10 * n, "a", user=f"u{n}", shown="b", variant=variant))
        t.add(10 * n + 1, "-", kind="impression", user=f"u{n}", shown="", variant=None, request_id=names[-1])
        t.add(10 * n + 2, "b", user=f"u{n}", shown="", variant=None)
    readout = t.play(**more)
    found = readout.tally()
    assert (readout.strange, found.lost, found.events) == (2, 2, 12)
    assert found.entered == {(right, 0): 2}
    assert {v for v, _, _ in [*found.cells, *found.earned]} == {right}
    assert sum(read_out(alone(definition(**more), 0), found).units.values()) == 2


def test_a_user_of_such_lists_is_a_unit_once_there_is_one_of_the_experiment() -> None:
    t = Tape()
    for n, variant in enumerate(("stray", "new", "stray", "new")):
        t.add(10 * n, "b", shown="b", variant=variant)
    found = t.play().tally()
    assert (found.entered, found.mixed, found.lost) == ({("new", 0): 1}, 0, 2)
    assert found.total("ctr", "new").totals[1] >> 32 == 2
