"""The exception tree of Headrace.

    HeadraceError
    ├── InputError(ValueError)      a file, record or argument of the user's is wrong
    ├── SettingsError(ValueError)   an unknown or ill-typed setting
    ├── SnapshotError(ValueError)   a snapshot that this code or configuration cannot load
    ├── ArtefactError(ValueError)   a model artefact that is damaged, unsafe or not for this code
    ├── QualityError(ValueError)    a model that is not good enough to be published
    ├── ServiceError(RuntimeError)  a broker, a Redis or a program that is needed is not there
    └── ContractError(AssertionError)  a model breaks what all models keep (`checks`)

Every message says what was expected, what was found and what to do about it, in one line.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all errors that are raised on purpose."""

    def __init__(self, expected: str, actual: str, remedy: str) -> None:
        super().__init__(f"expected {expected}, got {actual}; {remedy}")
        self.expected, self.actual, self.remedy = expected, actual, remedy


class InputError(HeadraceError, ValueError):
    """A file, a record or an argument is wrong."""


class SettingsError(HeadraceError, ValueError):
    """A setting is unknown, ill-typed or out of range."""


class SnapshotError(HeadraceError, ValueError):
    """A snapshot does not fit this code or this configuration."""


class ArtefactError(HeadraceError, ValueError):
    """A model artefact is damaged, unsafe, or not one that this code can use."""


class QualityError(HeadraceError, ValueError):
    """A model is not good enough to be published; the message has the numbers."""


class ServiceError(HeadraceError, RuntimeError):
    """Something that has to run beside us does not."""


class ContractError(HeadraceError, AssertionError):
    """A model does not keep what every model has to keep."""
