"""The texts of settings: each is read by a function that raises ValueError on what is not one, and a URL can be shown."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit


def redact(url: str) -> str:
    """A URL that may be shown: user and password are left out, whether or not the URL is well formed.

    >>> redact("redis://:secret@cache:6379/0")
    'redis://***@cache:6379/0'
    """
    scheme, mark, rest = url.partition("://")
    if not mark or not re.fullmatch(r"[A-Za-z]*", scheme):
        scheme, mark, rest = "", "", url
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    return scheme + mark + re.sub(r"(?i)((?:password|username)=)[^&]*", r"\1***", rest)


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` (``[host]:port`` for IPv6).

    >>> split_address("[::1]:6066")
    ('::1', 6066)
    """
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]@/,]+):(\d{1,5})", text)
    if not match or int(match[2]) > 65535:
        raise ValueError("host:port")
    return match[1].strip("[]"), int(match[2])


def broker(text: str) -> str:
    """Addresses of brokers, comma separated."""
    addresses = [part.strip() for part in text.split(",")]
    if any(split_address(address)[1] == 0 for address in addresses):
        raise ValueError("a port")
    return ",".join(addresses)


def redis(text: str) -> str:
    """The URL of a Redis."""
    parts = urlsplit(text)
    if parts.scheme == "unix":
        good = bool(parts.path)
    else:
        database = parts.path.strip("/")
        good = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (not database or database.isdecimal())
        good = good and parts.port != 0
    if not good:
        raise ValueError("a redis URL")
    return text


def web(text: str) -> str:
    """An address to listen on."""
    split_address(text)
    return text


def prefix(text: str) -> str:
    """What may stand before a topic's name."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,200}", text):
        raise ValueError("letters")
    return text


def folder(text: str) -> Path:
    """A folder, or the place for one."""
    path = Path(text).expanduser()
    if not text or "\0" in text or (path.exists() and not path.is_dir()):
        raise ValueError("a folder")
    return path
