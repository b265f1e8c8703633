"""Last.fm-1K: who listened to what. A listen is a ``view`` unless ``--event-type`` says otherwise."""

from __future__ import annotations

from ..layout import Format, Layout, Options
from ..rows import Convert, Fields
from ..tables import Table
from ..times import iso_ms

_NAMES = ("user", "timestamp", "artist-id", "artist-name", "track-id", "track-name")


def listen_of(item: str, event_type: str) -> Convert:
    """Function from a listen to event fields; ``item`` is track or artist. What has no id goes by its name.

    >>> cells = ("user_000001", "2009-05-04T23:08:57Z", "", "Deep Dish", "", "Flashdance")
    >>> listen_of("track", "view")(*cells)["item_id"], listen_of("artist", "view")(*cells)["item_id"]
    ('Deep Dish - Flashdance', 'Deep Dish')
    """

    def listen(user: str, time: str, artist_id: str, artist: str, track_id: str, track: str) -> Fields:
        if item == "artist":
            what = artist_id or artist
        else:
            what = track_id or (f"{artist} - {track}" if track else "")
        return {"timestamp": iso_ms(time), "user_id": user, "item_id": what, "event_type": event_type}

    return listen


def _layouts(options: Options) -> tuple[Layout, ...]:
    listen = listen_of(options.item, options.event_type or "view")
    return (Table(_NAMES, listen, names=_NAMES, delimiter="\t", quotes=False),)


FORMAT = Format(
    name="lastfm-1k",
    short="lf",
    summary="music played: userid-timestamp-artid-...-traname.tsv",
    example="headrace import lastfm-1k lastfm-dataset-1K -o log.jsonl.gz --item artist",
    files=("userid-timestamp-*.tsv",),
    layouts=_layouts,
    takes=("item", "event_type"),
)
