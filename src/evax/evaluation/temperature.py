"""Temperature scaling (Guo et al. 2017): one number that makes logits honest, fitted on validation films."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp

LOWEST, HIGHEST = 0.05, 20.0


# Shapes: N films, C classes
def class_logits(logits: Float[np.ndarray, "N C"], *, exclusive: bool) -> Float[np.ndarray, "N C"]:
    """The log-odds of each class in float64: the logits themselves, or under a softmax z_c - log sum_{j≠c} exp z_j.

    They rank as the probabilities do, but do not saturate: float32 probabilities of confident films tie at 1.
    """
    rows = logits.astype(np.float64)
    if not exclusive:
        return rows
    others = [logsumexp(np.delete(rows, c, axis=1), axis=1) for c in range(rows.shape[1])]
    return rows - np.stack(others, axis=1)


def probabilities_of(
    logits: Float[np.ndarray, "N C"], temperature: Float[np.ndarray, "C"] | float = 1.0, *, exclusive: bool = False
) -> Float[np.ndarray, "N C"]:
    """Sigmoid, or softmax where classes exclude each other, of logits divided by the temperature."""
    return expit(class_logits(logits / np.asarray(temperature, dtype=np.float64), exclusive=exclusive))


def fit_temperature(
    logits: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
    *,
    per_class: bool = False,
    exclusive: bool = False,
) -> Float[np.ndarray, "C"]:
    """The temperature of each class that makes validation films likeliest; shared by all classes unless `per_class`.

    The binary cross-entropy over known entries (or, for `exclusive` classes, the cross-entropy of one-hot targets)
    is convex in 1/T, so a bounded line search over log T in [log 0.05, log 20] finds its minimum. A class without
    known positives and negatives cannot have one of its own: NaN. Ranks, and so AUROC, do not change under a shared
    temperature of independent classes.
    """
    if per_class and exclusive:
        raise ValueError("classes of one softmax share one temperature; leave per_class out")
    known = ~np.isnan(logits) if is_known is None else is_known & ~np.isnan(logits)
    rows = logits.astype(np.float64)
    if exclusive:
        whole = known.all(axis=1)
        return np.full(logits.shape[1], _search(_softmax_loss(rows[whole], targets[whole])))
    columns = [[c] for c in range(logits.shape[1])] if per_class else [list(range(logits.shape[1]))]
    temperature = np.full(logits.shape[1], np.nan)
    for group in columns:
        inside = known[:, group]
        shown, wanted = rows[:, group][inside], targets[:, group][inside]
        if (wanted == 1).any() and (wanted == 0).any():
            temperature[group] = _search(_sigmoid_loss(shown, wanted))
    return temperature


def logits_of(probabilities: Float[np.ndarray, "N C"], smallest: float = 1e-7) -> Float[np.ndarray, "N C"]:
    """Log-odds of probabilities from elsewhere (a probe, a table), clipped away from 0 and 1 by `smallest`."""
    clipped = np.clip(probabilities.astype(np.float64), smallest, 1 - smallest)
    return np.log(clipped) - np.log1p(-clipped)


def _sigmoid_loss(logits: Float[np.ndarray, "M"], targets: Real[np.ndarray, "M"]) -> Callable[[float], float]:
    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        return float((np.logaddexp(0, scaled) - targets * scaled).mean())

    return loss


def _softmax_loss(logits: Float[np.ndarray, "M C"], targets: Real[np.ndarray, "M C"]) -> Callable[[float], float]:
    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        return float((logsumexp(scaled, axis=1) - (targets * scaled).sum(axis=1)).mean())

    return loss


def _search(loss: Callable[[float], float]) -> float:
    bounds = (np.log(LOWEST), np.log(HIGHEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))
