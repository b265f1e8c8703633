"""Settings of the online path. Unknown keys are refused; every value has a default that suits all kinds of log."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .trial import TrialConfig

HalfLife = Annotated[float, msgspec.Meta(ge=1, le=1e12)]
"""Events after which something weighs half."""
HalfLives = Annotated[tuple[HalfLife, ...], msgspec.Meta(min_length=1, max_length=20)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1_000)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Few = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Many = Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=10 * 366 * 86_400)]


class SessionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``gap_s``: silence that ends a session. ``history``: distinct items kept for a user (the latest)."""

    gap_s: Seconds = 30 * 60
    history: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    recent: Few = 20


class FilterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``consumed``: ``auto`` leaves out what the user has rated and the item that the user is on (the last, unless bought);
    ``all`` leaves out every item of the user's history, ``none`` nothing. ``repeats``: the same item again at once is something to
    foresee, too, ``auto`` lists the item that the user is on, and deep models are trained, judged and asked with sessions that hold it
    twice. ``deny_*``: never listed."""

    consumed: Literal["auto", "all", "none"] = "auto"
    repeats: bool = False
    deny_items: tuple[str, ...] = ()
    deny_categories: tuple[str, ...] = ()


class CoVisitationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `online_models.covisitation.CoVisitation`; ``max_age_s`` 0 means any age."""

    window: Few = 1
    last: Few = 1
    half_life: HalfLife = 50_000
    step: Share = 0.6
    fade: Share = 0.8
    damp: Rate = 1.0
    max_age_s: Annotated[int, msgspec.Meta(ge=0, le=10 * 366 * 86_400)] = 1800
    both: bool = False


class KnnConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `online_models.session_knn.SessionKNN`."""

    unit: Literal["user", "session"] = "user"
    last: Few = 20
    m: Literal[8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384] = 512
    k: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    fade: Share = 0.8
    half_life: HalfLife = 50_000
    inner: Share = 0.9
    width: Few = 200


class FactorsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `online_models.matrix_factorization.MatrixFactorization`."""

    loss: Literal["softmax", "isgd", "isgd-negatives"] = "softmax"
    dims: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 64
    lr: Rate = 0.3
    user_lr: Rate = 0.1
    reg: Rate = 0.01
    last: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 5
    fade: Share = 0.6
    negatives: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 8
    window: Many = 10_000
    scan: Many = 4_096
    init: Rate = 0.1


class UntriedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `online_models.untried.Untried`; ``kappa`` 0: there is no such source. ``bonus``: what is added to the score of an item that
    was never tried, in the units of the blend."""

    kappa: Rate = 0.0
    bonus: Annotated[float, msgspec.Meta(ge=0, le=20)] = 0.0


class SourcesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The candidate sources. ``candidates`` is the length of each list, of which metrics need 20."""

    candidates: Annotated[int, msgspec.Meta(ge=20, le=1_000)] = 50
    popularity: HalfLives = (10, 100, 1_000, 20_000, 1_000_000)
    entry: HalfLife = 2_000
    following: CoVisitationConfig = CoVisitationConfig()
    near: CoVisitationConfig = CoVisitationConfig(window=3, last=1, half_life=5_000)
    far: CoVisitationConfig = CoVisitationConfig(
        window=20, last=20, half_life=1_000_000, step=0.97, fade=0.95, max_age_s=0, both=True
    )
    knn: KnnConfig = KnnConfig()
    factors: FactorsConfig = FactorsConfig()
    ratings: bool = True
    category: HalfLife = 20_000
    untried: UntriedConfig = UntriedConfig()

    def __post_init__(self) -> None:
        if len({f"{h:.0f}" for h in self.popularity}) < len(self.popularity):
            raise ValueError("Expected half-lives that differ by 1 or more in `popularity`")


class BlendConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Adagrad of the blend: learning rate and the start of its sums. ``units``: hidden units, and their own learning rate. ``start``:
    weights that were learned on other logs, or a plain trust in ranks (`online_models.start`)."""

    lr: Annotated[float, msgspec.Meta(ge=0, le=0.25)] = 0.03
    eps: Annotated[float, msgspec.Meta(gt=0, le=1_000)] = 0.1
    units: Annotated[int, msgspec.Meta(ge=0, le=64)] = 16
    units_lr: Annotated[float, msgspec.Meta(ge=0, le=0.25)] = 0.03
    start: Literal["shipped", "plain"] = "shipped"


DEFAULT_WEIGHTS: dict[str, float] = {
    "view": 1.0, "click": 1.0, "like": 1.0, "cart": 1.0, "purchase": 1.0, "rating": 1.0,
    "bookmark": 1.0, "comment": 1.0, "favourite": 1.0, "favorite": 1.0,
    "follow": 1.0, "share": 1.0, "save": 1.0, "play": 1.0,
    "impression": 0.0, "return": 0.0,
}  # fmt: skip
"""Event type → weight in learning. Types that are not named weigh nothing and are counted."""


class PipelineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a recommendation depends on besides the events."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    k: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    max_items: Many = 1_000_000
    max_users: Many = 200_000
    isolated_arms: Annotated[int, msgspec.Meta(ge=0, le=100)] = 4
    dedup_window: Many = 200_000
    open_moments: Many = 64
    max_unacknowledged: Many = 10_000
    weights: dict[str, Weight] = msgspec.field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    conversions: tuple[str, ...] = ("cart", "purchase")
    sessions: SessionConfig = SessionConfig()
    filters: FilterConfig = FilterConfig()
    sources: SourcesConfig = SourcesConfig()
    blend: BlendConfig = BlendConfig()
    trial: TrialConfig = TrialConfig()
