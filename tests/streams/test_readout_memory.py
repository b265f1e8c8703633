"""What a read-out keeps: a unit as long as it may count, and a user's lists as long as an event may be for them."""

from __future__ import annotations

import msgspec

from streams.contracts.events import Source
from streams.readout.units import BEFORE_DAYS, CLICKED, DAY_MS, LISTS
from tests.streams.readout_tape import Tape
from tests.worlds import START


def test_a_users_lists_stay_as_long_as_an_event_may_be_for_them() -> None:
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(1_800, "b", shown="c", user="u")
    readout = t.play(attribution_s=3_600)
    units = readout.units
    units.forget(START + 1_800_000 + BEFORE_DAYS * DAY_MS + 3_600_000)
    click = msgspec.structs.replace(t.records[0][0], item_id="c", event_id="later", timestamp=START + 1_801_000)
    units.take_event(click)
    assert units.units["u"].now[CLICKED] == 2.0
    units.forget(START + 1_801_000 + BEFORE_DAYS * DAY_MS + 3_600_001)
    units.take_event(msgspec.structs.replace(click, event_id="again", item_id="d"))
    assert units.units["u"].now[CLICKED] == 2.0  # the user is not known any more, the unit stays
    assert units.units["u"].now[LISTS] == 2.0


def test_a_unit_that_comes_back_in_another_variant_is_known() -> None:
    """However long ago it was first exposed: it is counted as mixed, and not as a new one."""
    t = Tape()
    t.add(0, "a", shown="b")
    readout = t.play()
    later = START + 40 * DAY_MS
    readout.units.forget(later)
    back = Tape()
    back.add(40 * 86_400, "b", shown="c", variant="control")
    [(event, answer)] = back.records
    source = Source(0, 1)
    answer = msgspec.structs.replace(
        answer, request_id="r1", caused_by=msgspec.structs.replace(answer.caused_by, offset=1)
    )
    readout.take_event(msgspec.json.encode(msgspec.structs.replace(event, event_id="e1")), source)
    readout.take_list(msgspec.json.encode(answer))
    tally = readout.tally()
    assert (tally.mixed, dict(tally.entered)) == (1, {("new", 0): 1})
