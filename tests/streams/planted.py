"""Logs that are hard on a blend: what helps turns into what harms, and what was worthless is all that helps."""

from __future__ import annotations

import random
from collections.abc import Callable

from streams.contracts.events import Event
from tests.worlds import START

ITEMS, USERS = 200, 40

Choice = Callable[[random.Random, list[int], list[int]], int]
"""From the user's items and everybody's, the latest last, to the next item."""


def chain(rng: random.Random, own: list[int], everybody: list[int]) -> int:
    """What follows the user's last item: a fixed way through the items."""
    return (own[-1] * 7 + 3) % ITEMS if own else rng.randrange(ITEMS)


def back(rng: random.Random, own: list[int], everybody: list[int]) -> int:
    """The way the other way round: who trusts what follows is always wrong."""
    return (own[-1] - 3) * pow(7, -1, ITEMS) % ITEMS if own else rng.randrange(ITEMS)


def burst(rng: random.Random, own: list[int], everybody: list[int]) -> int:
    """What somebody has just had, or something new: the news of the hour."""
    return rng.choice(everybody[-12:]) if everybody and rng.random() < 0.9 else rng.randrange(ITEMS)


def again(rng: random.Random, own: list[int], everybody: list[int]) -> int:
    """One of the user's own items."""
    return rng.choice(own[-10:]) if own else rng.randrange(ITEMS)


def noise(rng: random.Random, own: list[int], everybody: list[int]) -> int:
    """Anything."""
    return rng.randrange(ITEMS)


def turning(n: int, every: int, choices: list[Choice], seed: int = 1) -> list[Event]:
    """``n`` events by rules that take turns, ``every`` so many events."""
    rng = random.Random(seed)
    own: dict[int, list[int]] = {u: [] for u in range(USERS)}
    everybody: list[int] = []
    out = []
    for number in range(n):
        user = rng.randrange(USERS)
        item = choices[number // every % len(choices)](rng, own[user], everybody)
        own[user].append(item)
        everybody.append(item)
        time = START + number * 5_000
        out.append(
            Event(timestamp=time, user_id=f"u{user}", item_id=f"i{item}", event_type="click", event_id=f"e{number}")
        )
    return out


LOGS: dict[str, list[Event]] = {
    "turns": turning(4_800, 800, [chain, burst, again]),
    "a source that lies": turning(4_000, 2_000, [chain, back]),
    "worthless, then all there is": turning(4_000, 2_000, [noise, again]),
    "quick turns": turning(4_000, 250, [again, chain]),
}
