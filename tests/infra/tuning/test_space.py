"""The space: every knob is a setting, the default is in it, and only what is moved is changed."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from infra import settings
from infra.tuning.space import KNOBS, Knob, Space, applied
from infra.tuning.toml import written
from streams.config import BlendConfig, FilterConfig, PipelineConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPACE = Space(PipelineConfig())


def test_the_start_is_the_default_and_changes_nothing() -> None:
    assert SPACE.config(SPACE.start) == PipelineConfig()
    assert SPACE.changes(SPACE.start) == {}


@pytest.mark.parametrize("number", range(len(KNOBS)), ids=lambda n: KNOBS[n].path)
def test_every_value_of_every_knob_is_a_setting_of_its_own(number: int) -> None:
    knob = SPACE.knobs[number]
    assert len(knob.values) == len(set(knob.values)) >= 2
    if all(isinstance(value, (int, float)) for value in knob.values):
        assert list(knob.values) == sorted(knob.values)
    found = []
    for at in range(len(knob.values)):
        moved = SPACE.moved(SPACE.start, {number: at - SPACE.start[number]})
        assert moved is not None
        found.append(SPACE.config(moved))
    assert all(found[i] != found[j] for i in range(len(found)) for j in range(i))
    assert SPACE.moved(SPACE.start, {number: len(knob.values)}) is None
    assert SPACE.moved(SPACE.start, {number: -len(knob.values)}) is None


def test_no_knob_is_named_twice() -> None:
    assert len({knob.path for knob in KNOBS}) == len(KNOBS)


def test_settings_of_ones_own_are_where_the_search_starts() -> None:
    base = PipelineConfig(blend=BlendConfig(lr=0.0123), k=7)
    space = Space(base)
    assert space.config(space.start) == base
    lr = next(n for n, knob in enumerate(space.knobs) if knob.path == "blend.lr")
    assert 0.0123 in space.knobs[lr].values
    assert list(space.knobs[lr].values) == sorted(space.knobs[lr].values)
    moved = space.moved(space.start, {lr: 1})
    assert moved is not None
    assert space.config(moved).k == 7


def test_a_path_that_is_no_setting_is_refused() -> None:
    with pytest.raises(KeyError):
        Space(PipelineConfig(), (Knob("blend.rate", (1,)),))
    with pytest.raises(KeyError):
        applied(PipelineConfig(), {"blend.rate": 1})
    with pytest.raises(msgspec.ValidationError):
        applied(PipelineConfig(), {"blend.lr": 7.0})


def everything_moved() -> PipelineConfig:
    steps = {
        n: 1 if at + 1 < len(knob.values) else -1
        for n, (knob, at) in enumerate(zip(SPACE.knobs, SPACE.start, strict=True))
    }
    moved = SPACE.moved(SPACE.start, steps)
    assert moved is not None
    return SPACE.config(moved)


ODD = PipelineConfig(
    weights={"view": 1.0, 'a "word"\\\n\x7f': 0.25, "ü": 2.0},
    conversions=("buy",),
    filters=FilterConfig(deny_items=("a", 'b"')),
)


@pytest.mark.parametrize(
    "config", [PipelineConfig(), everything_moved(), ODD, PipelineConfig(k=5, blend=BlendConfig(eps=1e-05))]
)
def test_a_written_file_is_read_as_the_same_settings(config: PipelineConfig, tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text(written(config, ["a comment"]), "utf-8")
    assert settings.load(config=path, environ={}).pipeline == config


def test_what_is_as_by_default_is_not_written() -> None:
    table = tomllib.loads(written(PipelineConfig(blend=BlendConfig(lr=0.05)), []))
    assert table == {"pipeline": {"blend": {"lr": 0.05}}}
