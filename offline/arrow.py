"""pyarrow comes with an extra: it is imported where Parquet is read or written, and not before."""

from __future__ import annotations

from typing import Any

from online_models.errors import InputError


def arrow() -> Any:
    """The module pyarrow, with its Parquet reader and writer. Raises InputError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        remedy = "run `pip install 'headrace[parquet]'`"
        raise InputError("pyarrow, for Parquet files", "no such package", remedy) from error
    return pyarrow
