"""Topic names. The prefix of the settings stands before every one of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topics:
    """The names of all topics under one prefix.

    >>> Topics("shop1-").events
    'shop1-events'
    """

    prefix: str = ""

    @property
    def events(self) -> str:
        return f"{self.prefix}events"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}events.dlq"

    @property
    def interactions(self) -> str:
        return f"{self.prefix}interactions"

    @property
    def recommendations(self) -> str:
        return f"{self.prefix}recommendations"

    @property
    def items(self) -> str:
        return f"{self.prefix}items"

    @property
    def models(self) -> str:
        return f"{self.prefix}models"

    @property
    def model_decisions(self) -> str:
        return f"{self.prefix}models.decisions"

    @property
    def model_status(self) -> str:
        return f"{self.prefix}models.status"

    @property
    def experiments(self) -> str:
        return f"{self.prefix}experiments"

    @property
    def drift(self) -> str:
        return f"{self.prefix}drift"

    def configs(self) -> dict[str, dict[str, str]]:
        """Topic → broker settings it must have (others as the broker likes).

        The broker compresses, since a worker has less time: a third of an interaction goes for less than 15 µs of the broker's.
        """
        return {
            self.events: {},
            self.dead_letters: {},
            self.interactions: {"retention.ms": "-1", "compression.type": "zstd"},
            self.recommendations: {},
            self.items: {"cleanup.policy": "compact"},
            self.experiments: {"cleanup.policy": "compact"},
            self.models: {"cleanup.policy": "compact"},
            self.model_decisions: {"cleanup.policy": "compact"},
            self.model_status: {"cleanup.policy": "compact,delete", "retention.ms": "86400000"},
            self.drift: {"cleanup.policy": "compact,delete", "retention.ms": "2592000000"},
        }
