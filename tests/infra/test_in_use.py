"""What the offline half reads off the model topics: what is live, and what has to stay where workers fetch it."""

from __future__ import annotations

from typing import Any

import pytest

from infra import topic_reading
from infra.cli.publish_model import in_use
from infra.models import Models
from infra.settings import Settings
from offline.publish import InUse
from tests.infra.test_models_command import NAMES, announced, decided, on_wire, worker


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(*records: Any) -> InUse:
        monkeypatch.setattr(topic_reading, "records", lambda settings, *names: on_wire(*records))
        return in_use(Settings())

    return of


def test_what_a_rollback_would_bring_back_stays(used: Any) -> None:
    """An operator made b live again after c, which was created later: it is b that comes back."""
    history = decided("a", "promoted", 10, 1), decided("c", "promoted", 30, 3), decided("b", "promoted", 40, 2)
    live = decided("d", "promoted", 50, 4)
    assert used(*history, live).kept == {"d", "b"}
    fleet = Models(NAMES).take(on_wire(*history, decided("d", "rolled_back", 60, 4))).fleet
    assert fleet.wanted.live == announced("b", 2)


def test_what_workers_are_at_stays_whatever_was_decided_meanwhile(used: Any) -> None:
    live = decided("d", "promoted", 50, 4)
    assert used(live, worker("w1", "a"), worker("w2", "d", "b", "fetching")).kept == {"a", "b", "d"}


def test_a_trial_is_one_as_long_as_a_worker_has_not_refused_it(used: Any) -> None:
    live, new = decided("a", "promoted", 10, 1), announced("b", 2)
    refused, other = worker("w1", "a", "b", "refused", error="sha256"), worker("w2", "a")
    assert used(live, new).busy == "", "nobody is there to try it"
    assert used(live, new, refused).busy == ""
    assert used(live, new, refused, other).busy == "version b is on trial"
    assert used(live, new, worker("w1", "a", "b", "shadow")).busy == "version b is on trial"
    assert used(live, new, other, decided("b", "rolled_back", 20, 2)).busy == ""
    assert used(decided("a", "pinned", 10, 1), new, other).busy == "", "what is held is not tried"
    assert used(other).busy == ""


def test_the_live_version_is_watched_as_long_as_a_worker_says_so(used: Any) -> None:
    live = decided("a", "promoted", 10, 1), decided("b", "promoted", 20, 2)
    assert used(*live, worker("w1", "b", None, "promoted")).busy == "version b is still compared with the one before it"
    assert used(*live, worker("w1", "a", "b", "promoted"), worker("w2", "b", "b", "kept")).busy == ""
