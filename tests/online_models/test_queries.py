"""Queries that are kept: the same bits whoever asked before, and bounded in number and in bytes."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from online_models import embeddings
from online_models.base import FloatArray
from online_models.deep import STEPS, Version
from online_models.newcomers import Newcomers
from online_models.prepared import prepare
from tests.online_models.test_deep import GROUPS, IDS, query, seen, table_of
from tests.versions import artefact, vectors_of, version


def test_queries_are_kept_within_bounds_and_asked_again_they_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("online_models.deep.CACHE", 5)
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    first = v.query(np.array([1, 2], np.int32))
    for n in range(20):
        v.query(np.array([n], np.int32))
    again = v.query(np.array([1, 2], np.int32))
    assert first is not None
    assert again is not None
    assert (first == again).all()
    assert len(v._queries) <= 5


def test_a_request_asks_by_its_own_session_event_by_event(tmp_path: Path) -> None:
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    found, requests = [], (query(table, [0, 1], v), query(table, [0, 1], v))
    requests[1].sequence = np.array([1, 0, 1, 1], np.int32)
    for q in (*requests, requests[0]):
        out = np.empty(40, np.float32)
        v.nearness(q, np.arange(40, dtype=np.int32), out)
        wanted = v.query(q.sequence)
        assert wanted is not None
        cosines = (
            v.vectors[v.row_of[:40]]
            @ wanted
            / np.linalg.norm(v.vectors[v.row_of[:40]], axis=1)
            / np.linalg.norm(wanted)
        )
        np.testing.assert_allclose(out, cosines, atol=1e-5)
        found.append(out.tobytes())
    assert found[0] == found[2] != found[1]


def test_a_newcomer_is_learned_by_all_of_the_session_that_leads_to_it(tmp_path: Path) -> None:
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    new = table.add("new", 0)
    v.catch_up()
    o = seen(new, [1, 0])
    o.sequence = np.array([0, 1, 0, 2], np.int32)
    wanted = v.query(o.sequence)
    assert wanted is not None
    v.learn_one(o)
    slot = v.newcomers.slot_of[new]
    np.testing.assert_allclose(v.newcomers.means[slot], wanted / np.linalg.norm(wanted), atol=1e-6)


def test_the_slot_of_a_newcomer_that_made_room_begins_anew() -> None:
    some = Newcomers(4, 1.0, capacity=2)
    for item in range(4):
        some.learn(item, np.eye(4, dtype=np.float32)[item])
    some.slot(4)
    slot = some.slot_of[4]
    assert (some.item[slot], some.lengths[slot], some.count[slot]) == (4, 0.0, 0)
    assert some.lengths[1 - slot] == pytest.approx(np.linalg.norm(some.vectors[1 - slot]))


def attention(folder: Path, dims: int = 32, layers: int = 2) -> Path:
    """An artefact with an encoder that keeps much of a session."""
    rng, shapes = np.random.default_rng(2), dict[str, tuple[int, ...]]()
    for n in range(layers):
        shapes |= {
            f"blocks.{n}.{name}": (dims,) for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")
        }
        for name, (out, into) in {"qkv": (3, 1), "out": (1, 1), "up": (2, 1), "down": (1, 2)}.items():
            shapes |= {f"blocks.{n}.{name}.weight": (out * dims, into * dims), f"blocks.{n}.{name}.bias": (out * dims,)}
        shapes[f"blocks.{n}.distance"] = (2, 20)
    shapes |= {"norm.weight": (dims,), "norm.bias": (dims,), "distance": (1, 20)}
    shapes |= {"pair.weight": (2 * dims, dims), "pair.bias": (2 * dims,)}
    config = {"length": 20, "heads": 2, "layers": layers, "scale": 0.0, "readout": "items"}
    embeddings.write(
        folder, kind="sasrec", ids=IDS, vectors=vectors_of(GROUPS, dims=dims), trained=embeddings.Trained(0, 0, 1), created=1,
        description={"kind": "sasrec", "config": config},
        encoder={name: rng.normal(scale=0.1, size=shape).astype(np.float32) for name, shape in shapes.items()},
    )  # fmt: skip
    return folder


def test_bytes_of_kept_queries_are_counted_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    v = Version(prepare(attention(tmp_path / "a")), table_of())
    rng = np.random.default_rng(1)
    sessions = [rng.integers(0, 40, rng.integers(1, STEPS + 1)).astype(np.int32) for _ in range(400)]
    v.query(sessions[0])
    before = v.nbytes
    tracemalloc.start()
    try:
        first = [v.query(session) for session in sessions]
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 * held < v.nbytes - before < 1.2 * held
    v.remap(np.arange(40, dtype=np.int32))
    assert len(v._queries) == v._queries.nbytes == 0
    monkeypatch.setattr("online_models.deep.CACHE_BYTES", 100_000)
    for session, had in zip(sessions, first, strict=True):
        again = v.query(session)
        assert again is not None
        assert had is not None
        assert again.tobytes() == had.tobytes()
        assert 0 < v._queries.nbytes <= 100_000
    assert len(v._queries) > 5


class Counting:
    """A running sum, event by event, that counts its steps."""

    length = 50

    def __init__(self, vectors: FloatArray) -> None:
        self.vectors, self.steps, self.encoded = vectors, 0, 0

    def start(self) -> FloatArray:
        return np.zeros(self.vectors.shape[1], np.float32)

    def step(self, memory: FloatArray, row: int) -> tuple[FloatArray, FloatArray]:
        self.steps += 1
        return memory * np.float32(0.7) + self.vectors[row], memory * np.float32(0.7) + self.vectors[row]

    def encode(self, rows: np.ndarray) -> FloatArray:
        self.encoded += 1
        return self.vectors[rows].sum(axis=0)


def test_one_more_event_is_one_more_step_and_a_query_has_the_same_bits_whoever_asked_before(tmp_path: Path) -> None:
    table = table_of()
    artefact(tmp_path / "a", IDS, vectors_of(GROUPS))
    ready = prepare(tmp_path / "a")
    encoders = [Counting(ready.artefact.vectors), Counting(ready.artefact.vectors)]
    warm, cold = (Version(dataclasses.replace(ready, encoder=e), table) for e in encoders)
    session = np.random.default_rng(3).integers(0, 40, STEPS + 4).tolist()
    for n in range(1, len(session) + 1):
        so_far = np.array(session[:n], np.int32)
        query = warm.query(so_far)
        cold._queries.clear()
        again = cold.query(so_far)
        assert query is not None
        assert again is not None
        assert query.tobytes() == again.tobytes()
    assert encoders[0].steps == STEPS
    assert encoders[1].steps == STEPS * (STEPS + 1) // 2
    assert encoders[0].encoded == encoders[1].encoded == len(session) - STEPS
    assert len(warm._queries) == 1 + len(session) - STEPS, "of what has gone on, only the latest is kept"


def test_a_session_that_fills_what_the_encoder_looks_at_is_not_stepped_through_again_and_again(tmp_path: Path) -> None:
    artefact(tmp_path / "a", IDS, vectors_of(GROUPS))
    ready = prepare(tmp_path / "a")
    counting = Counting(ready.artefact.vectors)
    counting.length = 6
    v = Version(dataclasses.replace(ready, encoder=counting), table_of())
    for n in range(1, 13):
        v.query(np.arange(n, dtype=np.int32))
    assert (counting.steps, counting.encoded) == (5, 7)
