"""Deskdrop: ``users_interactions.csv`` (and, for who shared what, ``shared_articles.csv``), times in seconds.

``bookmark``, ``follow``, ``comment`` and ``share`` stay words of their own: what they weigh is a setting.
"""

from __future__ import annotations

from ..layout import Format
from ..rows import BadRow, Fields, word
from ..tables import Table

_WORDS = {
    "VIEW": "view",
    "CONTENT VIEWED": "view",
    "LIKE": "like",
    "BOOKMARK": "bookmark",
    "FOLLOW": "follow",
    "COMMENT CREATED": "comment",
    "CONTENT SHARED": "share",
}


def interaction(seconds: str, kind: str, content: str, person: str, session: str) -> Fields:
    """One row. The removal of an article is nothing that a reader does and is dropped.

    >>> interaction("1465413032", "CONTENT VIEWED", "-3499919498720038879", "-8845298781299428018", "12")["event_type"]
    'view'
    """
    if kind == "CONTENT REMOVED":
        raise BadRow("content_removed", content)
    return {
        "timestamp": int(seconds) * 1000,
        "user_id": person,
        "item_id": content,
        "event_type": word(_WORDS, kind),
        "session_id": session or None,
    }


FORMAT = Format(
    name="deskdrop",
    short="dd",
    summary="articles read, liked, shared: users_interactions.csv",
    example="headrace import deskdrop users_interactions.csv -o log.jsonl.gz",
    files=("users_interactions.csv",),
    layouts=lambda options: (
        Table(("timestamp", "eventType", "contentId", "personId", "sessionId"), interaction),
        Table(("timestamp", "eventType", "contentId", "authorPersonId", "authorSessionId"), interaction),
    ),
)
