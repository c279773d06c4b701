"""L2-penalised logistic regressions on shared features, solved together along a path of penalties.

Each minimises scikit-learn's objective, C times the sum of losses plus half the squared norm of the weights, with a
free offset. Where the offset is optimal, what is left is strongly convex in the weights with constant 1, so weights
are no further from the optimum than the norm of their gradient. That bound is the one criterion of convergence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from evax.evaluation.line_search import curvatures, line_search, residuals

TOLERANCE = 5e-4  # distance from the optimum, as a share of the norm of the weights
ROUNDING = 1e-10  # of the largest gradient that the residuals allow: below, the weights are 0 but for rounding
CLOSE = 0.5  # of what is tolerated, where a round in float32 ends
ROUNDS = 10  # of one penalty; each begins with a gradient in float64
ITERATIONS, PATIENCE = 200, 15  # of a round, and without a smaller gradient
MEMORY = 10  # steps that L-BFGS looks back
BLOCK = 2**22  # numbers that are float64 at once, 32 MiB

Move = tuple[Float64[Tensor, "K D"], Float64[Tensor, "K D"]]  # a step of the weights, and the change of the slopes


# Shapes: N films, D width, R rank, K problems
class Problems(NamedTuple):
    """Regressions on the same features, which each of them divides by scales of its own."""

    features: Float32[Tensor, "N D"]
    signs: Float32[Tensor, "K N"]  # 1: positive, -1: negative, 0: not used; both occur in every problem
    scales: Float64[Tensor, "K D"]


class Directions(NamedTuple):
    """Principal directions of features, and the sum of squares along each."""

    vectors: Float32[Tensor, "D R"]
    squares: Float32[Tensor, "R"]


class Solution(NamedTuple):
    """Weights of the scaled features and offsets, logits of all films, and whether they are proven optimal."""

    weights: Float64[Tensor, "K D"]
    offsets: Float64[Tensor, "K"]
    logits: Float64[Tensor, "K N"]
    is_optimal: Bool[Tensor, "K"]


@dataclass
class State:
    """Problems and where they stand."""

    signs: Float32[Tensor, "K N"]
    scales: Float64[Tensor, "K D"]
    weights: Float64[Tensor, "K D"]
    offsets: Float64[Tensor, "K"]
    logits: Float64[Tensor, "K N"]
    residuals: Float64[Tensor, "K N"]  # derivative of the loss of each film by its logit
    slopes: Float64[Tensor, "K D"]  # derivative of the sum of losses by the weights

    def only(self, rows: Int64[Tensor, "_P"] | Bool[Tensor, "K"]) -> "State":
        """Some of the problems, as a copy."""
        return State(*(getattr(self, field.name)[rows] for field in fields(self)))

    def put(self, rows: Int64[Tensor, "_P"], part: "State") -> None:
        """Take over where some of the problems stand."""
        for name in ("weights", "offsets", "logits", "residuals", "slopes"):
            getattr(self, name)[rows] = getattr(part, name)

    def gradient(self, strength: float) -> Float64[Tensor, "K D"]:
        """Of the objective, by the weights."""
        return strength * self.slopes + self.weights

    def error(self, strength: float) -> Float64[Tensor, "K"]:
        """Bound of the distance from the optimum, 1 where it is just tolerated; the offsets must be optimal."""
        largest = strength * self.residuals.norm(dim=1) * self.weights.shape[1] ** 0.5
        tolerated = (TOLERANCE * self.weights.norm(dim=1)).maximum(ROUNDING * largest)
        return self.gradient(strength).norm(dim=1) / tolerated


def principal_directions(features: Float32[Tensor, "N D"]) -> Directions:
    """Directions of centred features, as many as films and width allow."""
    num_films, width = features.shape
    if width <= num_films:
        squares, vectors = torch.linalg.eigh((features.T @ features).double())
        return Directions(vectors.float(), squares.clamp(min=0).float())
    squares, films = torch.linalg.eigh((features @ features.T).double())
    is_seen = squares > 1e-6 * squares.max()
    vectors = features.T @ (films[:, is_seen] / squares[is_seen].sqrt()).float()
    return Directions(vectors, squares[is_seen].float())


def solve(
    problems: Problems,
    directions: Directions,
    strengths: Sequence[float],
    on_iteration: Callable[[], None] = lambda: None,
) -> Iterator[Solution]:
    """Optimum of every problem for every C of `strengths`, in their order; each starts from the one before.

    `directions` are of the features, or of a few more or fewer films: they decide the speed and not the result.
    """
    state = starting_state(problems)
    for strength in strengths:
        error, dtype = state.error(strength), torch.float32
        for _ in range(ROUNDS):
            rows = torch.nonzero(error > 1)[:, 0]
            if not len(rows):
                break
            descend(problems.features, state, rows, directions, strength, dtype, on_iteration)
            refresh(problems.features, state)
            before, error = error, state.error(strength)
            if (error > (before / 10).clamp(min=1)).any():  # rounding is all that is left
                dtype = torch.float64
        yield Solution(state.weights, state.offsets, state.logits, error <= 1)


def starting_state(problems: Problems) -> State:
    """Weights of 0, and offsets that give the shares of positives."""
    _, signs, scales = problems
    offsets = ((signs > 0).sum(1) / (signs < 0).sum(1)).log().double()
    logits = offsets[:, None].repeat(1, signs.shape[1])
    state = State(
        signs, scales, torch.zeros_like(scales), offsets, logits, torch.zeros_like(logits), torch.zeros_like(scales)
    )
    refresh(problems.features, state)
    return state


def refresh(features: Float32[Tensor, "N D"], state: State) -> None:
    """Set everything that follows from the weights, in float64: optimal offsets, logits, residuals and slopes."""
    state.logits = forward(features, state.weights / state.scales) + state.offsets[:, None]
    centre(state)
    state.slopes = backward(features, state.residuals) / state.scales


def forward(features: Float32[Tensor, "N D"], weights: Float[Tensor, "K D"]) -> Float[Tensor, "K N"]:
    """Logits in the precision of the weights."""
    if weights.dtype == features.dtype:
        return weights @ features.T
    logits = torch.empty(len(weights), len(features), dtype=weights.dtype)
    size = block_size(features)
    for part, block in zip(logits.split(size, dim=1), features.split(size), strict=True):
        part.copy_(weights @ block.to(weights.dtype).T)  # parts kept apart would leave holes that no block fits into
    return logits


def backward(features: Float32[Tensor, "N D"], values: Float[Tensor, "K N"]) -> Float[Tensor, "K D"]:
    """Sums over films of features times values, in the precision of the values."""
    if values.dtype == features.dtype:
        return values @ features
    size = block_size(features)
    blocks = zip(values.split(size, dim=1), features.split(size), strict=True)
    return sum(factors @ block.to(values.dtype) for factors, block in blocks)


def block_size(features: Float32[Tensor, "N D"]) -> int:
    """Films whose features are in another precision at once."""
    return max(1, BLOCK // features.shape[1])


def centre(state: State) -> None:
    """Move the offsets to their optimum by Newton's steps, of at most 2."""
    for _ in range(ITERATIONS):
        state.residuals = residuals(state.signs, state.logits)
        steepness = curvatures(state.residuals).sum(1).clamp(min=torch.finfo(torch.float64).tiny)
        moves = (-state.residuals.sum(1) / steepness).clamp(-2, 2)
        if (moves.abs() < 1e-10).all():
            return
        state.offsets += moves
        state.logits += moves[:, None]


def descend(
    features: Float32[Tensor, "N D"],
    state: State,
    rows: Int64[Tensor, "_P"],
    directions: Directions,
    strength: float,
    dtype: torch.dtype,
    on_iteration: Callable[[], None],
) -> None:
    """Move problems by L-BFGS until they are close to the optimum, or get no closer.

    Products with the features are in `dtype` and of changes only. Their rounding is small beside the way that a round
    goes, so rounds that begin in float64 come nearer to the optimum each time.
    """
    part, waited = state.only(rows), torch.zeros(len(rows), dtype=torch.long)
    best, past = part.error(strength), list[Move]()
    for _ in range(ITERATIONS):
        past = [*past[-MEMORY + 1 :], move(features, part, past, directions, strength, dtype)]
        on_iteration()
        error = part.error(strength)
        waited = torch.where(error < 0.9 * best, 0, waited + 1)
        best = best.minimum(error)
        goes_on = (error > CLOSE) & (waited < PATIENCE)
        if goes_on.all():
            continue
        state.put(rows[~goes_on], part.only(~goes_on))
        rows, part, best, waited = rows[goes_on], part.only(goes_on), best[goes_on], waited[goes_on]
        past = [(steps[goes_on], changes[goes_on]) for steps, changes in past]
        if not len(rows):
            return
    state.put(rows, part)


def move(
    features: Float32[Tensor, "N D"],
    state: State,
    past: Sequence[Move],
    directions: Directions,
    strength: float,
    dtype: torch.dtype,
) -> Move:
    """One step of every problem, along the direction of L-BFGS to where offset and length are best."""
    ways = descent(state, past, directions, strength)
    logits = forward(features, (ways / state.scales).to(dtype))
    lengths, offsets = line_search(state.signs, state.logits, logits, state.weights, ways, strength)
    steps = lengths[:, None] * ways
    state.weights += steps
    state.offsets += offsets
    state.logits += lengths[:, None] * logits + offsets[:, None]
    after = residuals(state.signs, state.logits)
    changes = backward(features, (after - state.residuals).to(dtype)).double() / state.scales
    state.residuals = after
    state.slopes += changes
    return steps, changes


def descent(state: State, past: Sequence[Move], directions: Directions, strength: float) -> Float64[Tensor, "K D"]:
    """Direction of L-BFGS (Nocedal 1980) for every problem.

    It begins from the curvature that all films would give along the principal directions if each weighed the mean of
    its class: the Hessian itself at weights of 0, and near it wherever the features tell little.
    """
    way = -state.gradient(strength)
    weighed = []
    for steps, changes in reversed(past):
        growth = strength * changes + steps  # of the gradient
        inverse = 1 / (steps * growth).sum(1, keepdim=True)
        inverse = torch.where(torch.isfinite(inverse) & (inverse > 0), inverse, 0)
        share = inverse * (steps * way).sum(1, keepdim=True)
        way = way - share * growth
        weighed.append((steps, growth, inverse, share))
    mean = strength * curvatures(state.residuals).sum(1, keepdim=True).float() / state.residuals.shape[1]
    shrinkage = -1 / (1 + 1 / (mean * directions.squares))
    way = way + ((way.float() @ directions.vectors * shrinkage) @ directions.vectors.T).double()
    for steps, growth, inverse, share in reversed(weighed):
        way = way + steps * (share - inverse * (growth * way).sum(1, keepdim=True))
    return way
