"""The formats, one file each. A module here that has a ``FORMAT`` is a format: there is no other list."""

from __future__ import annotations

import importlib
import pkgutil

from ..layout import Format


def formats() -> dict[str, Format]:
    """Name on the command line → format, by name; files in general come last.

    >>> list(formats())[-3:]
    ['csv', 'jsonl', 'parquet']
    """
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: list[Format] = [module.FORMAT for module in modules]
    return {format.name: format for format in sorted(found, key=lambda format: ("map" in format.takes, format.name))}
