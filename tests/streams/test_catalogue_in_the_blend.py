"""The catalogue in the path: planted logs that only it explains, nothing known before it is told, restarts, and no catalogue at all."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from online_models import shelf
from streams.config import PipelineConfig
from streams.contracts.catalogue import Item
from streams.contracts.events import Event, Source
from streams.explain import explain
from streams.pipeline import Outcome, Pipeline
from tests.streams.test_arms import learning_apart
from tests.streams.test_explain import check_sums
from tests.worlds import START, shop_log

KINDS, OF_A_KIND = 40, 12


def click(n: int, user: str, item: str, at: int) -> Event:
    return Event(timestamp=START + at, user_id=user, item_id=item, event_type="click", event_id=f"e{n}")


def wandering(n: int, seed: int = 1, among: int = KINDS) -> list[Event]:
    """Sessions of six clicks, all on items of one kind of so many; each session is of another user."""
    rng = random.Random(seed)
    out: list[Event] = []
    while len(out) < n:
        kind, session = rng.randrange(among), len(out)
        for item in rng.sample(range(OF_A_KIND), 6):
            out.append(click(len(out), f"u{session}", f"{kind}-{item}", 60_000 * len(out)))
    return out[:n]


def kinds(among: int = KINDS) -> list[Item]:
    return [
        Item(item_id=f"{kind}-{n}", categories=["all", f"kind {kind}"])
        for kind in range(among)
        for n in range(OF_A_KIND)
    ]


def play(log: list[Event], catalogue: list[Item] = [], batch: int = 1, config: PipelineConfig | None = None) -> Any:  # noqa: B006
    pipeline, outcomes = Pipeline(config), []
    for item in catalogue:
        pipeline.catalogue_update(item.item_id, item)
    for at in range(0, len(log), batch):
        outcomes += pipeline.process([(e, Source(0, at + i)) for i, e in enumerate(log[at : at + batch])])
    return pipeline, outcomes


def hits(log: list[Event], outcomes: list[Outcome], share: float = 0.5) -> float:
    """HR@20 of the fresh lists over the end of a log, of users who have clicked before, on items that somebody has."""
    seen: set[str] = set()
    found = []
    for n, (event, outcome) in enumerate(zip(log, outcomes, strict=True)):
        if {event.user_id, event.item_id} <= seen and n >= share * len(log):
            found.append(event.item_id in outcome.fresh)
        seen |= {event.user_id, event.item_id}
    return float(np.mean(found))


def lists(outcomes: list[Outcome]) -> list[Any]:
    return [(o.fresh, o.recommendation and [(i.item_id, i.score) for i in o.recommendation.items]) for o in outcomes]


def test_where_the_category_decides_the_next_click_it_is_found() -> None:
    log = wandering(1_500, among=100)
    with_, without = play(log, kinds(100)), play(log)
    assert hits(log, with_[1]) > 0.9
    assert hits(log, with_[1]) > hits(log, without[1]) + 0.1
    weights = with_[0].knowledge.blend_report()["weights"]
    assert weights["category_last"] + weights["category_recent"] + weights["category_session"] > 0.1


def test_a_new_item_of_the_right_category_comes_up() -> None:
    log = wandering(1_500)
    new = [Item(item_id="new", categories=["all", "kind 7"])]
    log += [click(n, f"v{n}", f"{n % KINDS}-{n % 5}", 60_000 * n) for n in range(1_500, 1_600)]
    log += [click(1_600, "first", "new", 60_000 * 1_600)]
    log += [click(n, f"w{n}", f"{n % KINDS}-{n % 5}", 60_000 * n) for n in range(1_601, 1_700)]
    log += [click(1_700, "somebody", "7-3", 60_000 * 1_700)]
    pipeline, outcomes = play(log, kinds() + new)
    listed = [item.item_id for item in outcomes[-1].recommendation.items]
    assert "new" in listed
    assert sum(item.startswith("7-") for item in listed) >= 9
    other = explain(pipeline, "w1601", "new")
    assert other.rank is None or other.rank > 20, "others are not shown it"
    found = explain(pipeline, "somebody", "new")
    by_name = {group.name: group for group in found.groups}
    assert by_name["category"].place is not None
    assert by_name["catalogue"].above > 0
    assert "new" not in [item.item_id for item in play(log)[1][-1].recommendation.items], "nothing else finds it"


def test_a_price_that_decides_is_found() -> None:
    """Sessions stay at one level of prices; the catalogue says nothing else."""
    log = wandering(1_500, among=100)
    catalogue = [Item(item_id=item.item_id, price=1.2 ** int(item.item_id.partition("-")[0])) for item in kinds(100)]
    with_, without = play(log, catalogue), play(log)
    assert with_[0].knowledge.blend_report()["weights"]["price_near"] > 0.1
    assert hits(log, with_[1]) > hits(log, without[1]) + 0.02


def test_what_the_catalogue_says_later_changes_nothing_before() -> None:
    log = wandering(400)
    never, first = play(log)[1], play(log, kinds())[1]
    late = Pipeline()
    outcomes = late.process([(e, Source(0, n)) for n, e in enumerate(log[:200])])
    for item in kinds():
        late.catalogue_update(item.item_id, item)
    outcomes += late.process([(e, Source(0, 200 + n)) for n, e in enumerate(log[200:])])
    assert lists(outcomes[:200]) == lists(never[:200])
    assert lists(outcomes[200:]) != lists(never[200:])
    assert lists(first[:200]) != lists(never[:200])


def test_titles_alone_change_no_list() -> None:
    log = shop_log(300)
    titles = [Item(item_id=f"i{n}", title=f"Item {n}", text="words") for n in range(60)]
    assert lists(play(log)[1]) == lists(play(log, titles)[1])
    one, two = play(log)[0].knowledge.snapshot(), play(log, titles)[0].knowledge.snapshot()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_without_a_catalogue_steps_are_no_longer_than_before() -> None:
    [plain] = {
        len(o.interaction.deltas["blend"].data) for o in play(wandering(60))[1] if "blend" in o.interaction.deltas
    }
    [wide] = {
        len(o.interaction.deltas["blend"].data)
        for o in play(wandering(60), kinds())[1]
        if "blend" in o.interaction.deltas
    }
    k = Pipeline().knowledge
    assert wide - plain == 4 * len(k.beside.names) + k.blend.hidden.units * k.beside.seen_by_units[1]


@pytest.mark.parametrize("batch", [3, 64])
def test_the_cut_into_batches_changes_nothing(batch: int) -> None:
    log, catalogue = (
        shop_log(300),
        [Item(item_id=f"i{n}", categories=[f"{n % 4}"], price=1.0 + n % 7) for n in range(60)],
    )
    assert lists(play(log, catalogue)[1]) == lists(play(log, catalogue, batch)[1])


def pools(pipeline: Pipeline) -> dict[str, list[int]]:
    k = pipeline.knowledge
    return {name: k.by_category.pool(number).tolist() for name, number in k.shelf._numbers.items()}


@pytest.mark.parametrize("before", [True, False])
def test_after_a_restart_the_lists_are_the_same_whenever_the_catalogue_is_read(before: bool) -> None:
    log, catalogue = wandering(700), kinds(20)
    config = PipelineConfig(max_items=260)  # the item table is compacted meanwhile
    pipeline, _ = play(log[:600], catalogue, config=config)
    assert pipeline.knowledge.items.generation > 0
    for name, rows in pools(pipeline).items():
        told = {item.item_id for item in catalogue if name in item.categories}
        assert {pipeline.knowledge.items.ids[row] for row in rows} <= told
    fresh = Pipeline(config)
    for item in catalogue if before else []:
        fresh.catalogue_update(item.item_id, item)
    fresh.restore({name: array.copy() for name, array in pipeline.snapshot().items()})
    for item in [] if before else catalogue:
        fresh.catalogue_update(item.item_id, item)
    fresh.sessions = pipeline.sessions  # users' states are stored elsewhere
    for user in {e.user_id for e in log[550:600]}:
        assert fresh.recommend(user, 20) == pipeline.recommend(user, 20)
    rest = [(e, Source(0, 600 + n)) for n, e in enumerate(log[600:])]
    ours = [o.interaction for o in pipeline.process(rest)]
    for interaction in ours:
        fresh.learn(interaction)
    for name, array in pipeline.knowledge.snapshot().items():
        if not name.startswith(("source-", "items", "habits", "blend")):
            continue  # the rest is of who answers: quality is watched by the owner of the users alone
        assert np.array_equal(fresh.knowledge.snapshot()[name], array), name
    assert pools(fresh) == pools(pipeline)


def test_arms_that_learn_apart_see_the_catalogue_too_and_its_changes() -> None:
    log, catalogue = wandering(400), kinds()
    pipeline, _ = play(log[:200], catalogue)
    pipeline.run_experiments([learning_apart(1, 1)])
    moved, new = log[0].item_id, f"kind {int(log[6].item_id.partition('-')[0])}"
    pipeline.catalogue_update(moved, Item(item_id=moved, categories=[new]))
    pipeline.process([(e, Source(0, 200 + n)) for n, e in enumerate(log[200:])])
    k = pipeline.knowledge
    row, numbers = k.items.row(moved), k.shelf._numbers
    assert k.arms
    for arm in k.arms.values():
        assert arm.wide
        assert row in arm.by_category.pool(numbers[new])
        assert row not in arm.by_category.pool(numbers[f"kind {moved.partition('-')[0]}"])


def test_what_the_catalogue_says_while_an_arm_is_made_reaches_it() -> None:
    log, catalogue = wandering(400), kinds()
    pipeline, _ = play(log, catalogue)
    pipeline.run_experiments([learning_apart(1, 1)], at_once=False)
    k = pipeline.knowledge
    for step in range(10_000):
        work = pipeline.arms.make()
        if work is None:
            break
        work()
        moved = log[step % len(log)].item_id
        pipeline.catalogue_update(moved, Item(item_id=moved, categories=[f"kind {step % 3}"]))
        [made] = pipeline.process([(click(500 + step, "u1", moved, 10**9 + step), Source(0, 500 + step))])
        assert not made.duplicate
    assert len(k.arms) == 2
    for arm in k.arms.values():
        before = [arm.by_category.pool(c).tolist() for c in range(k.shelf.categories)]
        arm.by_category.refill()
        assert [arm.by_category.pool(c).tolist() for c in range(k.shelf.categories)] == before


def test_an_explanation_adds_up_with_the_catalogue_in_it() -> None:
    log = wandering(400)
    pipeline, _ = play(log, kinds())
    user = log[-1].user_id
    listed = pipeline.recommend(user, 20)
    sources = set()
    for place, item in enumerate(listed.items, 1):
        found = explain(pipeline, user, item.item_id)
        check_sums(found)
        assert (found.rank, found.source) == (place, item.source)
        sources.add(item.source)
        names = {f.name for group in found.groups for f in group.features}
        assert names & set(shelf.NAMES)
    assert "category" in sources
    assert any(item.reason == "popular in a category of yours" for item in listed.items)


def test_the_catalogue_is_counted_and_bounded() -> None:
    pipeline = Pipeline(PipelineConfig(max_items=50))
    for n in range(500):
        pipeline.catalogue_update(f"x{n}", Item(item_id=f"x{n}", categories=[f"k{n}"], price=1.0))
    figures = pipeline.metrics()
    assert figures["catalogue"]["described"] == figures["catalogue"]["categories"] == 50.0  # type: ignore[index]
    assert figures["model_bytes"]["catalogue"] > 0  # type: ignore[index]
    for n in range(500):
        pipeline.catalogue_update(f"x{n}", None)
    assert pipeline.metrics()["catalogue"]["described"] == 0.0  # type: ignore[index]


def test_settings_are_checked() -> None:
    for text in (
        '{"category": 0}',
        '{"untried": {"kappa": -1}}',
        '{"untried": {"bonus": 21}}',
        '{"untried": {"x": 1}}',
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(f'{{"sources": {text}}}', type=PipelineConfig)
