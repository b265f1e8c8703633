"""The published protocols as the benchmarks follow them: what is asked, what is left out, among what it is ranked."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch

from offline.job import JobConfig
from offline.model import build
from offline.train import TrainConfig
from tests.bench import ader, sequences
from tests.offline.test_dataset import lists

TRAIN = TrainConfig(epochs=1, tokens=64, negatives=8, device="cpu")
CONFIG = JobConfig(model="sasrec", settings={"dims": 8}, train=TRAIN, exemplars=1)


def periods(folder: Path, *texts: str) -> Path:
    for n, text in enumerate(texts):
        folder.joinpath(f"period_{n}.txt.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_periods_keep_the_order_of_sessions_and_of_items(tmp_path: Path) -> None:
    found, _ = ader.read(periods(tmp_path, "7 a\n7 b\n3 c\n7 a\n", "1 d\n1 a\n"), 1)
    assert [lists(p) for p in found] == [[[0, 1, 0], [2]], [[3, 0]]]
    assert found[1].times.min() > found[0].times.max()


def test_only_items_of_earlier_periods_are_asked_for(tmp_path: Path) -> None:
    """Of the second period's sessions, one loses its new item in the middle, one is left with one event and is no query."""
    folder = periods(tmp_path, "1 a\n1 b\n1 c\n", "2 a\n2 new\n2 b\n2 c\n3 new\n3 a\n", "4 new\n4 b\n")
    found, _ = ader.read(folder, 2)
    first, live = ader.one(found, 1, CONFIG, None, 1)
    assert (first.items, first.queries) == (3, 2)
    second, _ = ader.one(found, 2, CONFIG, live, 1)
    assert (second.items, second.queries) == (4, 1)


def test_the_last_item_is_ranked_among_those_not_had(tmp_path: Path) -> None:
    path = tmp_path / "s.txt.gz"
    path.write_bytes(gzip.compress(b"u1 10 20 30 40\nu2 20 10 30\n"))
    histories = sequences.read(path)
    assert lists(histories) == [[0, 1, 2, 3], [1, 0, 2]]
    assert histories.times.tolist() == [0, 0, 1, 2, 0, 1, 2]
    model = build("bprmf", 4, {"dims": 2}).eval()
    with torch.no_grad():
        model.items.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.5, 0.0]]))
    np.testing.assert_array_equal(sequences.last_ranks(model, histories), [0, 0])
    with torch.no_grad():
        model.items.weight[3] = 2.0
    np.testing.assert_array_equal(sequences.last_ranks(model, histories, chunk=1), [0, 1])
