"""Make everything that is compiled ready before the first real event: loaded from the cache, or compiled once a machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from online_models.ann import Lists
from online_models.base import FloatArray
from online_models.deep import Version
from online_models.embeddings import Artefact, Manifest, Trained
from online_models.encoder import GruEncoder
from online_models.items import hash_id
from online_models.prepared import Prepared

from .config import PipelineConfig
from .contracts.catalogue import Item
from .contracts.events import Event, Source
from .pipeline import Pipeline

DIMS = 4
_TYPES = ("view", "click", "cart", "purchase", "rating", "impression")


def warm_up(config: PipelineConfig) -> None:
    """Run made-up events through a pipeline that is then thrown away.

    About 1 s with a warm cache; on a machine that has never run Headrace the compiler needs about half a minute.
    """
    # So few items that the table is compacted, too.
    pipeline = Pipeline(msgspec.structs.replace(config, max_items=16))
    timestamp = 1_500_000_000_000
    for n in range(120):
        timestamp += (0, 1_000, 120_000, 3_600_000)[n % 4]
        if n >= 60:  # first without a catalogue, then with one in which items change their place
            item = Item(item_id=f"item-{n % 8}", categories=[f"kind-{n % 3}"], price=float(n))
            pipeline.catalogue_update(item.item_id, item)
        kind = _TYPES[n % 5 if n % 7 else n % 6]
        value = float(1 + n % 5) if kind == "rating" else None
        pipeline.on_event(
            Event(
                timestamp=timestamp, user_id=f"user-{n // 2 % 5}", item_id=f"item-{n * 5 % (8 if n < 60 else 23)}", event_type=kind,
                event_id=f"event-{n}", value=value,
            ),
            Source(0, n),
        )  # fmt: skip
    pipeline.recommend("user-0", config.k)
    pipeline.recommend("nobody", config.k)
    for lists in (None, _lists()):
        pipeline.versions.install(Version(_made_up(lists), pipeline.knowledge.items))
        pipeline.recommend("user-0", config.k)
    pipeline.restore({name: array.copy() for name, array in pipeline.snapshot().items()})


def _fixed(*shape: int) -> FloatArray:
    """Numbers that may not be changed, as those of a file that is memory-mapped."""
    array = np.linspace(-1.0, 1.0, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    array.setflags(write=False)
    return array


def _lists() -> Lists:
    first, order, starts = np.array([0, 2]), np.arange(8, dtype=np.int32), np.array([0, 4, 8])
    for array in (first, order, starts):
        array.setflags(write=False)
    return Lists(_fixed(1, DIMS), first, _fixed(2, DIMS), order, starts)


def _made_up(lists: Lists | None) -> Prepared:
    """A version of eight items, searched whole or by lists."""
    ids, vectors = [f"item-{n}" for n in range(8)], _fixed(8, DIMS)
    manifest = Manifest("warm-up", "gru4rec", DIMS, len(ids), {}, Trained(0, 0, 0), 0)
    weights = {
        "gru.weight_ih_l0": _fixed(3 * DIMS, DIMS), "gru.weight_hh_l0": _fixed(3 * DIMS, DIMS),
        "gru.bias_ih_l0": _fixed(3 * DIMS), "gru.bias_hh_l0": _fixed(3 * DIMS),
    }  # fmt: skip
    hashes = np.array([hash_id(item) for item in ids], np.uint64)
    order = np.argsort(hashes)
    encoder = GruEncoder(vectors, weights, {"length": 4, "scale": 0.0})
    return Prepared(
        Artefact(Path(), manifest, ids, vectors, None if lists else _fixed(8), {}), encoder,
        hashes[order], order.astype(np.int32), lists, 1.0,
    )  # fmt: skip
