"""What all workers together want of the versions: a function of what was announced and decided, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from .contracts.models import Announcement, Decision


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
        """A decision was taken back: as if nothing had been decided of the version."""
        self.decisions.pop(version, None)
        self._wanted = None

    @property
    def wanted(self) -> Wanted:
        """See `Wanted`. Asked between all micro-batches, and decisions grow in number, so it is worked out when one has come."""
        if self._wanted is None:
            self._wanted = self._work_out()
        return self._wanted

    def _work_out(self) -> Wanted:
        standing = [d for d in self.decisions.values() if d.state in ("promoted", "pinned")]
        latest = max(standing, key=lambda d: (d.created, d.announcement.version), default=None)
        live = latest.announcement if latest else None
        pinned = latest is not None and latest.state == "pinned"
        a = self.announced
        new = a is not None and a.version not in self.decisions and (live is None or a.created > live.created)
        return Wanted(live, a if new and not pinned else None, pinned)
