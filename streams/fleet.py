"""What all workers together want of the versions: a function of what was announced and decided, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from .contracts.models import Announcement, Decision

KEPT = 20
"""Latest decisions that stay on the topic whatever they say, for whoever asks what was decided."""
STANDING = ("promoted", "pinned")
"""States of which the latest decision says what is live."""


@dataclass(frozen=True)
class Wanted:
    """``live`` for everybody (None: no deep model), ``candidate`` to be tried, ``pinned`` whether nothing may be tried."""

    live: Announcement | None = None
    candidate: Announcement | None = None
    pinned: bool = False


class Fleet:
    """Folds announcements and decisions, in whatever order they come."""

    def __init__(self) -> None:
        self.announced: Announcement | None = None
        self.decisions: dict[str, Decision] = {}
        self._wanted: Wanted | None = None

    def announce(self, announcement: Announcement) -> bool:
        """A version is to be had; False if a newer one was announced before."""
        if self.announced is not None and announcement.created < self.announced.created:
            return False
        self.announced, self._wanted = announcement, None
        return True

    def decide(self, decision: Decision) -> None:
        """Something was decided of a version."""
        self.decisions[decision.announcement.version], self._wanted = decision, None

    def forget(self, version: str) -> None:
        """A decision was taken back, or off the topic: as if nothing had been decided of the version."""
        self.decisions.pop(version, None)
        self._wanted = None

    def spent(self) -> dict[str, Decision]:
        """Decisions, by version, that say nothing any more and may be taken off the topic: `wanted` is the same without them.

        What stays besides the latest `KEPT`: what is live, what would be if that were rolled back, and what is decided of any
        version that is not older than the newest announced one, for it would be tried if nothing were known of it.
        """
        newest = self.announced
        if newest is None:
            return {}
        latest = sorted(self.decisions.values(), key=_when, reverse=True)
        stay = [*latest[:KEPT], *self._standing()[:2]]
        names = {d.announcement.version for d in stay}
        return {
            version: decision
            for version, decision in self.decisions.items()
            if version not in names and decision.announcement.created < newest.created
        }

    @property
    def after_rollback(self) -> Announcement | None:
        """What would be live if the live version were rolled back; None: no deep model."""
        return next((d.announcement for d in self._standing()[1:]), None)

    def _standing(self) -> list[Decision]:
        """Decisions for a version, the latest first: the first one says what is live."""
        return sorted((d for d in self.decisions.values() if d.state in STANDING), key=_when, reverse=True)

    @property
    def wanted(self) -> Wanted:
        """See `Wanted`. Asked between all micro-batches, and decisions grow in number, so it is worked out when one has come."""
        if self._wanted is None:
            self._wanted = self._work_out()
        return self._wanted

    def _work_out(self) -> Wanted:
        latest = next(iter(self._standing()), None)
        live = latest.announcement if latest else None
        pinned = latest is not None and latest.state == "pinned"
        a = self.announced
        new = a is not None and a.version not in self.decisions and (live is None or a.created > live.created)
        return Wanted(live, a if new and not pinned else None, pinned)


def _when(decision: Decision) -> tuple[int, str]:
    """What decisions are ordered by."""
    return decision.created, decision.announcement.version
