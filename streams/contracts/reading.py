"""What to expect of bytes from outside."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding may raise: of a record that is no JSON, not UTF-8, of other fields, or a list in a list a thousand times over."""
