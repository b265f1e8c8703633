"""Losses over a shared set of candidates: sampled softmax with logQ correction, BPR-max, distillation.

All take scores ``positive`` [n] of the targets and ``scores`` [n, c] of the candidates; ``hit`` [n, c] is True where a candidate is
the row's own target, which must not count as its negative.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NEVER = -1e9


def sampled_softmax(positive: Tensor, scores: Tensor, hit: Tensor, log_count: Tensor) -> Tensor:
    """Cross-entropy over all items, its denominator estimated from the candidates. Mean over rows.

    ``log_count`` [c] is the logarithm of how often the candidate is expected among the candidates: each stands for
    1/count items, so that sum(exp(score - log_count)) is an unbiased estimate of the sum over all items (Bengio and Senécal 2008;
    logQ as in Yi et al., RecSys 2019, with the target itself left uncorrected: it is not sampled, it is there).
    """
    others = torch.logsumexp((scores - log_count).masked_fill_(hit, NEVER), 1)
    return F.softplus(others - positive).mean()  # log(exp(positive) + exp(others)) - positive


def bpr_max(positive: Tensor, scores: Tensor, hit: Tensor, reg: float) -> Tensor:
    """-log sum_j s_j sigmoid(r_i - r_j) + reg sum_j s_j r_j², s = softmax of the negatives (Hidasi and Karatzoglou, CIKM 2018)."""
    negatives = scores.masked_fill(hit, NEVER)
    weight = torch.softmax(negatives, 1)
    better = (weight * torch.sigmoid(positive[:, None] - scores)).sum(1)
    return (-torch.log(better + 1e-9) + reg * (weight * scores.square()).sum(1)).mean()


def one_negative(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy with one negative a positive, both [n] (SASRec as published: Kang and McAuley, ICDM 2018)."""
    return (F.softplus(-positive) + F.softplus(negative)).mean()


def distillation(scores: Tensor, teacher: Tensor, log_count: Tensor) -> Tensor:
    """Cross-entropy of the student's distribution over the candidates with the teacher's (ADER: Mi et al., RecSys 2020)."""
    target = torch.softmax(teacher - log_count, 1)
    return -(target * torch.log_softmax(scores - log_count, 1)).sum(1).mean()


def full_softmax(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over all items: ``scores`` [n, items], ``targets`` [n]."""
    return F.cross_entropy(scores, targets)
