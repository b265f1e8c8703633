"""Settings of the online path. Unknown keys are refused; every value has a default that suits all kinds of log."""

from __future__ import annotations

from typing import Literal

import msgspec


class SessionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``gap_s``: silence that ends a session. ``history``: distinct items kept for a user (the latest)."""

    gap_s: int = 30 * 60
    history: int = 1_000
    recent: int = 20


class FilterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``consumed``: ``auto`` leaves out what the user has rated and the item that the user is on (the last, unless bought);
    ``all`` leaves out every item of the user's history, ``none`` nothing. ``deny_*``: never listed."""

    consumed: Literal["auto", "all", "none"] = "auto"
    deny_items: tuple[str, ...] = ()
    deny_categories: tuple[str, ...] = ()


class CoVisitationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `online_models.covisitation.CoVisitation`; ``max_age_s`` 0 means any age."""

    window: int = 1
    last: int = 1
    half_life: float = 50_000
    step: float = 0.6
    fade: float = 0.8
    damp: float = 1.0
    max_age_s: int = 1800
    both: bool = False


class KnnConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `online_models.session_knn.SessionKNN`."""

    unit: Literal["user", "session"] = "user"
    last: int = 20
    m: int = 512
    k: int = 100
    fade: float = 0.8
    half_life: float = 50_000
    inner: float = 0.9
    width: int = 200


class FactorsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `online_models.matrix_factorization.MatrixFactorization`."""

    loss: Literal["softmax", "isgd", "isgd-negatives"] = "softmax"
    dims: int = 64
    lr: float = 0.3
    user_lr: float = 0.1
    reg: float = 0.01
    last: int = 5
    fade: float = 0.6
    negatives: int = 8
    window: int = 10_000
    scan: int = 4_096
    init: float = 0.1


class SourcesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The candidate sources. ``candidates`` is the length of each list."""

    candidates: int = 50
    popularity: tuple[float, ...] = (10, 100, 1_000, 20_000, 1_000_000)
    following: CoVisitationConfig = CoVisitationConfig()
    near: CoVisitationConfig = CoVisitationConfig(window=3, last=1, half_life=5_000)
    far: CoVisitationConfig = CoVisitationConfig(
        window=10, last=10, half_life=100_000, step=0.9, max_age_s=0, both=True
    )
    knn: KnnConfig = KnnConfig()
    factors: FactorsConfig = FactorsConfig()
    ratings: bool = True


class BlendConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Adagrad of the blend: learning rate and the start of its sums."""

    lr: float = 0.03
    eps: float = 0.1


DEFAULT_WEIGHTS: dict[str, float] = {
    "view": 1.0, "click": 1.0, "like": 1.0, "cart": 1.0, "purchase": 1.0, "rating": 1.0,
    "bookmark": 1.0, "comment": 1.0, "favourite": 1.0, "favorite": 1.0,
    "follow": 1.0, "share": 1.0, "save": 1.0, "play": 1.0,
    "impression": 0.0, "return": 0.0,
}  # fmt: skip
"""Event type → weight in learning. Types that are not named weigh nothing and are counted."""


class PipelineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a recommendation depends on besides the events."""

    seed: int = 0
    k: int = 20
    max_items: int = 1_000_000
    max_users: int = 200_000
    dedup_window: int = 200_000
    open_moments: int = 64
    max_unacknowledged: int = 10_000
    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    conversions: tuple[str, ...] = ("cart", "purchase")
    sessions: SessionConfig = SessionConfig()
    filters: FilterConfig = FilterConfig()
    sources: SourcesConfig = SourcesConfig()
    blend: BlendConfig = BlendConfig()
