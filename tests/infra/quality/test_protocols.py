"""The protocols, on logs so small that the plan can be written down by hand."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infra.quality import ader
from infra.quality.judge import Judge
from infra.quality.plan import NEW, Plan
from online_models.errors import InputError
from online_models.expected import NAMES
from streams.config import PipelineConfig, SessionConfig
from streams.contracts.events import Event
from tests.infra.quality.worlds import REPEATS, ader_plan, log_plan, write_periods
from tests.worlds import START

A, B, C, D, E, F, G = range(7)
PERIODS = [
    [(A, 10), (B, 20), (A, 20), (B, 30)],
    [(C, 10), (D, 99), (C, 99), (D, 20), (C, 10), (E, 20), (D, 30), (F, 99), (F, 20), (A, 30)],
    [(G, 99), (G, 10), (G, 77), (G, 99)],
]
"""99 is new in period 1, 77 in period 2. Of period 1 sessions E, F and A are left with one known event."""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return ader_plan(tmp_path, PERIODS)


def test_what_ader_asks(plan: Plan) -> None:
    names = list(plan.items)
    assert names == ["10", "20", "30", "99", "77"]
    assert plan.bounds == (0, 4, 14, 18)
    asked = [(e, [names[t] for t in plan.of(q)]) for q, e in enumerate(plan.event.tolist())]
    # C's second 10 is asked for although it is C's first again, with the unknown 99 between left out
    assert asked == [(8, ["10"]), (10, ["30"]), (15, ["10"]), (17, ["99"])]
    assert plan.stratum.tolist() == [1, 1, 2, 2]
    assert plan.seen.tolist() == [3, 3, 4, 4], "all items of earlier periods may be ranked, and no others"
    assert plan.position.tolist() == [1, 1, 1, 2]
    assert plan.born is not None
    assert plan.born.tolist() == [0, 0, 0, 1]
    assert len(set(plan.session.tolist())) == 3


def test_what_a_reader_that_does_not_learn_is_told(plan: Plan) -> None:
    assert plan.kept is not None
    assert np.flatnonzero(plan.kept).tolist() == [4, 7, 8, 10, 14, 15, 17]


def test_order_stays_and_no_session_is_torn(plan: Plan) -> None:
    events = [event for event, _ in plan.read()]
    assert [event.item_id for event in events] == [str(item) for period in PERIODS for _, item in period]
    times = [event.timestamp for event in events]
    assert times == sorted(set(times))
    assert events[0].user_id == events[2].user_id == events[0].session_id
    assert events[0].user_id != events[13].user_id, "session A of period 1 is another one"
    short = PipelineConfig(sessions=SessionConfig(gap_s=1))
    far = [[(A, 1)] * 2, [(A, 1), *[(B, 1)] * 20, (A, 1)]]
    with pytest.raises(InputError, match="gap_s of at least 2 s"):
        ader.plan("made-up", ader_periods(far), short)


def ader_periods(periods: list[list[tuple[int, int]]]) -> ader.Periods:
    pairs = [(f"{n}/{s}", i) for n, period in enumerate(periods) for s, i in period]
    names = list(dict.fromkeys(i for _, i in pairs))
    bounds = np.cumsum([0, *map(len, periods)]).tolist()
    numbers = np.array([names.index(i) for _, i in pairs], np.int64)
    return ader.Periods([s for s, _ in pairs], numbers, [str(i) for i in names], tuple(bounds))


def test_metrics_of_lists_that_are_given(plan: Plan) -> None:
    judge = Judge(plan)
    judge.look(0, ["20", "99", "10"], np.array([3.0, 2.0, 1.0], np.float32))  # 99 may not be ranked yet: 10 is second
    judge.look(1, ["30", "20"], np.array([1.0, 1.0], np.float32))  # level with 20: first or second
    judge.look(2, ["20"], np.array([1.0], np.float32))
    verdict = judge.verdict()
    mrr, hr1 = NAMES.index("mrr@20"), NAMES.index("hr@1")
    assert verdict.values[:3, mrr].tolist() == [0.5, 0.75, 0.0]
    assert verdict.values[:3, hr1].tolist() == [0.0, 0.5, 0.0]
    assert verdict.asked.tolist() == [True, True, True, False]
    assert verdict.coverage == 3 / 4


def test_known_items_have_figures_of_their_own(tmp_path: Path) -> None:
    """A basket of an item that is known and one that is not: of the known ones all are found."""
    log = [event(n, n, "u", "ab"[n % 2]) for n in range(4)] + [event(4, 10, "v", "a"), event(5, 10, "v", "new")]
    plan = log_plan(tmp_path / "log.jsonl", log)
    judge = Judge(plan)
    [query] = np.flatnonzero(plan.event == 4).tolist()
    judge.look(query, ["a", "b"], np.array([2.0, 1.0], np.float32))
    recall, ndcg = NAMES.index("recall@20"), NAMES.index("ndcg@20")
    assert judge.values[query, recall] == 0.5
    assert judge.known[query, [recall, ndcg]].tolist() == [1.0, 1.0]


def test_popularity_of_what_is_listed_and_of_what_came(plan: Plan) -> None:
    """Of four events two are on 20, and one each on 10 and 30."""
    judge = Judge(plan)
    judge.look(0, ["20"], np.ones(1, np.float32))  # before the first event nothing has a share
    for item in ("10", "20", "20", "30"):
        judge.passed(item)
    judge.look(0, ["20", "99", "30"], np.array([3.0, 2.0, 1.0], np.float32))  # 99 may not be ranked; 10 comes
    judge.look(1, ["20"], np.ones(1, np.float32))  # 30 comes
    verdict = judge.verdict()
    assert verdict.listed == pytest.approx((3 / 8 + 1 / 2) / 2)
    assert verdict.wanted == pytest.approx(1 / 4)


def test_a_constant_scorer_scores_as_a_random_one(tmp_path: Path) -> None:
    items = [(n, n) for n in range(60)]
    plan = ader_plan(tmp_path, [items, [(n % 300, (n * 7) % 60) for n in range(600)]])
    constant, rand = Judge(plan), Judge(plan)
    rng = np.random.default_rng(0)
    names = list(plan.items)
    for q in range(len(plan)):
        constant.look(q, names, np.zeros(60, np.float32))
        rand.look(q, [names[n] for n in rng.permutation(60)], -np.arange(60, dtype=np.float32))
    one, other = (judge.verdict().values.mean(axis=0, dtype=np.float64) for judge in (constant, rand))
    assert one[NAMES.index("hr@20")] == pytest.approx(20 / 60)
    np.testing.assert_allclose(one, other, atol=0.05)


def event(n: int, time: int, user: str, item: str, kind: str = "view", value: float | None = None) -> Event:
    return Event(timestamp=START + time, user_id=user, item_id=item, event_type=kind, event_id=f"e{n}", value=value)


def test_what_is_asked_of_a_log(tmp_path: Path) -> None:
    """20 % of ten events are learned only: events 0 and 1."""
    log = [
        event(0, 0, "u", "a"),
        event(1, 10, "v", "b"),
        event(2, 20, "u", "a"),  # a repeat in a row
        event(3, 30, "u", "b"),  # with 5 and 6 one moment: a basket
        event(4, 30, "v", "a"),
        event(5, 30, "u", "c"),
        event(6, 30, "u", "b"),
        event(6, 40, "u", "d"),  # a copy of event 6
        event(7, 50, "w", "c", "rating", 2.0),  # a low rating
        event(8, 4_000_000, "u", "c", "rating", 5.0),
    ]
    plan = log_plan(tmp_path / "log.jsonl", log)
    names = list(plan.items)
    assert names == ["a", "b", "c"]
    asked = {e: [names[t] for t in plan.of(q)] for q, e in enumerate(plan.event.tolist())}
    assert asked == {3: ["b", "c"], 4: ["a"], 9: ["c"]}
    assert plan.seen.tolist() == [2, 2, 3]
    assert plan.position.tolist() == [2, 1, 0], "after an hour's silence a session begins"
    assert plan.history.tolist() == [2, 1, 5]
    assert plan.age.tolist() == [20, 30, 4_000_000 - 30]
    assert plan.rating_max == 5.0
    assert len(set(plan.session.tolist())) == 3
    first = log_plan(tmp_path / "new.jsonl", [event(n, n, "u", f"i{n}") for n in range(5)])
    assert first.age.tolist() == [NEW] * 4


def test_a_set_that_is_not_there_or_not_as_described(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data"):
        ader.folder_of("ader-diginetica", None)
    with pytest.raises(InputError, match="none in"):
        ader.folder_of("ader-diginetica", tmp_path)
    write_periods(tmp_path / "ader" / "DIGINETICA", PERIODS)
    assert ader.folder_of("ader-diginetica", tmp_path) == tmp_path / "ader" / "DIGINETICA"
    with pytest.raises(InputError, match="at least two periods"):
        ader.read(write_periods(tmp_path / "one", PERIODS[:1]))
    (tmp_path / "one" / "period_0.txt.gz").write_bytes((tmp_path / "ader/DIGINETICA/period_0.txt.gz").read_bytes()[:0])
    with pytest.raises(InputError):
        ader.read(tmp_path / "one")
    assert ader.plan("made-up", ader.read(tmp_path / "ader" / "DIGINETICA", 1, 5), REPEATS).bounds == (0, 4, 9)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda raw: raw[:-12], "a whole gzip file"),
        (lambda raw: b"", "none in"),
        (lambda raw: b"1 2\n", "a whole gzip file"),
        (lambda raw: raw[:10] + b"\xff" * 8 + raw[18:], "a whole gzip file"),
        (lambda raw: gzip.compress(b"\xff 1\n"), "a whole gzip file"),
    ],
)
def test_a_damaged_period_is_said(damage: Callable[[bytes], bytes], said: str, tmp_path: Path) -> None:
    file = write_periods(tmp_path, PERIODS) / "period_1.txt.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=f"{said}.*period_1.*fetch it again"):
        ader.read(tmp_path)


def test_no_period_is_missing_between_two(tmp_path: Path) -> None:
    write_periods(tmp_path, [*PERIODS, PERIODS[0]])
    (tmp_path / "period_2.txt.gz").unlink()
    for last in (None, 2, 3):
        with pytest.raises(InputError, match=r"period_2\.txt\.gz before period_3\.txt\.gz, got none in"):
            ader.read(tmp_path, last)
    assert len(ader.read(tmp_path, 1).bounds) == 3, "what is not asked for need not be there"
