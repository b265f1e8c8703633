"""A version on its way to a worker: fetched, prepared, its newcomers replayed, aligned. What cannot be had now is tried again
later, what is not in order is refused; neither holds up the stream, or another version.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection

from online_models.deep import Version
from online_models.errors import ArtefactError, HeadraceError
from online_models.prepared import Prepared
from streams.contracts.interactions import Interaction
from streams.contracts.models import Announcement
from streams.model_fetch import Cache
from streams.pipeline import Pipeline
from streams.tailing import Breather

log = logging.getLogger("headrace")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Bringer:
    """Brings one version at a time. ``since(ms)`` gives the interactions from a time on, for a version's newcomers;
    ``say(version, step, error)`` is told each step.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        cache: Cache,
        since: Callable[[int], AsyncIterator[Interaction]],
        say: Callable[[str, str, str], None],
    ) -> None:
        self._knowledge, self._versions, self._table = pipeline.knowledge, pipeline.versions, pipeline.knowledge.items
        self._cache, self._since, self._say = cache, since, say
        self.known: dict[str, Announcement] = {}
        """What was brought, or was to be, by version."""
        self.bringing = ""
        self._ready: Version | None = None
        self._task: asyncio.Task[None] | None = None
        self._alone_until = 0.0
        """Nothing is answered yet until then (monotonic, s), so that preparing need not rest."""
        self._refused: set[str] = set()
        self._failed: dict[str, tuple[float, float]] = {}
        """Version → its next `_attempt`."""

    def take(self) -> Version | None:
        """The version that has come, once; None where none has, or where the item table was compacted since."""
        ready, self._ready = self._ready, None
        return ready if ready is not None and ready.generation == self._table.generation else None

    def out_of_reach(self, version: str) -> bool:
        """Whether it was refused, or could not be had and is not being brought just now."""
        return version in self._refused or (version in self._failed and version != self.bringing)

    def welcome(self, version: str) -> None:
        """It was announced again, or decided of: worth another try."""
        self._refused.discard(version)
        self._failed.pop(version, None)

    def start(self, announcement: Announcement) -> None:
        """Begin to bring a version in place of the one on its way; nothing if it is that one, or may not be tried now.

        One that has failed before waits for the other to arrive: it may fail for ever.
        """
        name = announcement.version
        if name == self.bringing or name in self._refused or time.monotonic() < self._attempt(name)[0]:
            return
        if self.bringing and name in self._failed:
            return
        self.stop()
        self._task = asyncio.ensure_future(self.bring(announcement))
        self.bringing = name

    async def at_once(self, announcement: Announcement, seconds: float) -> bool:
        """`start`, and wait for it as long as that, with nothing beside it; False if it goes on in the background then."""
        self._alone_until = time.monotonic() + seconds
        self.start(announcement)
        try:
            if self._task is not None:
                await asyncio.wait([self._task], timeout=seconds)
        except asyncio.CancelledError:
            self.stop()
            raise
        finally:
            self._alone_until = 0.0
        return not self.bringing

    def stop(self) -> None:
        """Give up what is on its way."""
        if self._task is not None:
            self._task.cancel()

    def keep(self, versions: Collection[str]) -> None:
        """Forget the others, and remove their copies in the background."""
        kept = {*versions, self.bringing}
        self.known = {name: announcement for name, announcement in self.known.items() if name in kept}
        self._failed = {name: when for name, when in self._failed.items() if name in kept}
        self._refused &= kept
        removing = asyncio.get_running_loop().run_in_executor(None, self._cache.drop_all_but, kept)
        removing.add_done_callback(_removed)

    def _attempt(self, version: str) -> tuple[float, float]:
        """When it may be tried (monotonic, s), and the pause (s) if that fails."""
        return self._failed.get(version, (0.0, FIRST_PAUSE))

    async def bring(self, announcement: Announcement) -> None:
        """Try once: then `take` gives the version, or why it does not has been said. Raises nothing."""
        name = announcement.version
        self.known[name] = announcement
        try:
            self._ready = await self._load(announcement)
            self._failed.pop(name, None)
        except ArtefactError as error:
            log.error("model %s is refused: %s", name, error)
            self._refused.add(name)
            self._say(name, "refused", str(error))
        except Exception as error:  # whatever it is, the stream goes on, and so do other versions
            pause = self._attempt(name)[1]
            self._failed[name] = time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE)
            ours = not isinstance(error, (HeadraceError, OSError))
            log.warning("model %s, next try in %.0f s: %s", name, pause, error, exc_info=ours)
            self._say(name, "waiting", str(error) or repr(error))
        self.bringing = ""

    async def _load(self, announcement: Announcement) -> Version:
        """The version, ready to answer."""
        ready = await self._prepared(announcement)
        self._say(announcement.version, "replaying", "")
        while True:
            version = await asyncio.to_thread(Version, ready, self._table, self._table.standing)
            await self._replay(version)
            if version.generation == self._table.generation:
                await asyncio.to_thread(self._versions.aligning(version))
                return version  # `take` looks once more
            log.info("the item table was compacted while model %s was on its way: once more", version.name)

    async def _prepared(self, announcement: Announcement, again: bool = True) -> Prepared:
        """Fetched and prepared; a copy that lies here already and is not in order is fetched again before it is refused."""
        name = announcement.version
        was_here = self._cache.holds(name)
        self._say(name, "fetching", "")
        folder = await self._cache.fetch(announcement)
        self._say(name, "preparing", "")
        try:
            return await self._cache.prepare(announcement, folder, max(self._alone_until - time.monotonic(), 0.0))
        except ArtefactError as error:
            if not (was_here and again):
                raise
            log.warning("model %s is fetched again, the copy that was here is damaged: %s", name, error)
        return await self._prepared(announcement, again=False)

    async def _replay(self, version: Version) -> None:
        """Let the version learn the items that came after its training, from the interactions since then."""
        breather = Breather(share=0.2)
        async for x in self._since(version.artefact.manifest.trained.to_ms):
            if version.generation != self._table.generation:
                return
            version.catch_up()
            row = self._table.row(x.item_id)
            if row >= 0 and version.row_of[row] < 0:
                version.learn_one(self._knowledge.observation(x, row))
            await breather.breathe()


def _removed(removing: asyncio.Future[None]) -> None:
    """Say so where old copies could not be removed: the disk fills up. The next change of what answers tries again."""
    error = None if removing.cancelled() else removing.exception()
    if error is not None:
        log.warning("copies of models that nobody needs any more could not be removed: %r", error, exc_info=error)
