"""Transformations that learn from the data, learned from a stream of rows: scale, center, poly, bs.

Each call of such a transformation keeps its state in an object with a few numbers. While rows stream by, a learner
stands in the object's place, notes what the argument looks like, and then sets the numbers.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.errors import DataError
from poolwise.spec.evaluate import Columns

# Values of which quantiles are taken, at most: 160 MB.
MOST_VALUES = 20_000_000


class _Learner(ABC):
    """Stands in place of a transformation, hands on what it answers, and takes notes while it is open."""

    def __init__(self, lazy):
        self.lazy, self.transform, self.open = lazy, lazy.stateful_transform, False

    def __call__(self, x, *arguments, **options):
        if self.open:
            self.note(np.asarray(x, dtype=np.float64), *arguments, **options)
        return self.transform(x, *arguments, **options)

    @abstractmethod
    def note(self, x: NDArray, *arguments, **options) -> None:
        """Look at some of the rows."""

    @abstractmethod
    def conclude(self) -> bool:
        """Take the state over at the end of a walk; whether it is complete."""


class _MeanAndSd(_Learner):
    n, mean, square = 0, 0.0, 0.0

    def note(self, x, *arguments, **options):
        mean = float(x[0] + np.mean(x - x[0]))
        apart, total = mean - self.mean, self.n + len(x)
        self.square += float(((x - mean) ** 2).sum()) + apart**2 * self.n * len(x) / total
        self.mean = self.mean + apart * len(x) / total if self.n else mean
        self.n = total

    def conclude(self):
        self.transform.mean = self.mean
        if hasattr(self.transform, "std"):
            self.transform.std = math.sqrt(self.square / self.n)
        return True


class _Polynomial(_Learner):
    """Orthogonal polynomials by their recurrence, one degree a walk."""

    def __init__(self, lazy):
        super().__init__(lazy)
        self.alpha: list[float] = []
        self.norms: list[float] = []
        self.parts: list[tuple[float, float]] = []

    def note(self, x, *arguments, **options):
        before, now = np.zeros_like(x), np.ones_like(x)
        for k, alpha in enumerate(self.alpha):
            beta = self.norms[k] / self.norms[k - 1] if k else 0.0
            before, now = now, (x - alpha) * now - beta * before
        self.parts.append((float((x * now**2).sum()), float((now**2).sum())))

    def conclude(self):
        if self.transform.raw:
            return True
        norm = math.fsum(part for _, part in self.parts)
        self.alpha.append(math.fsum(part for part, _ in self.parts) / norm)
        self.norms.append(norm)
        self.parts = []
        if len(self.norms) <= self.transform.degree:
            return False
        self.transform.alpha = dict(enumerate(self.alpha[:-1]))
        self.transform.norms2 = dict(enumerate(self.norms))
        return True


class _Splines(_Learner):
    def __init__(self, lazy):
        super().__init__(lazy)
        self.values: list[NDArray] = []
        self.kept = 0
        self.given: tuple[tuple, dict] = ((), {})

    def note(self, x, *arguments, **options):
        self.given = (arguments, options)
        df = arguments[0] if arguments else options.get("df")
        inner = df - self.transform._degree - (1 if self.transform._intercept else 0)
        # Without inner knots only the ends of the range are needed.
        self.values.append(x if inner > 0 else np.array([x.min(), x.max()]))
        self.kept += len(self.values[-1])
        if self.kept > MOST_VALUES:
            raise DataError(
                f"{self.lazy} takes the quantiles of more than {MOST_VALUES:,} values, which does not stream; use "
                "poly(), a df without inner knots (the degree), or collapse a sample first and hand it over as like="
            )

    def conclude(self):
        learned = type(self.transform)()
        learned(np.concatenate(self.values), *self.given[0], **self.given[1])
        self.transform._knots = learned._knots
        self.values = []
        return True


_LEARNERS: dict[str, Callable] = {
    "Center": _MeanAndSd,
    "Scale": _MeanAndSd,
    "Polynomial": _Polynomial,
    "BSpline": _Splines,
}


def learn_from_stream(columns: Sequence[Columns], walk: Callable[[], Iterable[pd.DataFrame]]) -> int:
    """Let every transformation learn from all rows.

    Parameters
    ----------
    columns : sequence of Columns
        Evaluated on rows that only stand for the data; their transformations' states are replaced.
    walk : callable
        Walks through the rows once more.

    Returns
    -------
    int
        Walks that were needed.
    """
    learners = [(part, [_learner(lazy) for lazy in part.stateful]) for part in columns if part.stateful]
    waiting = [(part, learner) for part, own in learners for learner in own]
    for _, learner in waiting:
        learner.lazy.stateful_transform = learner
    walks = 0
    try:
        while waiting:
            unlearned = {id(learner.lazy) for _, learner in waiting}
            for _, learner in waiting:
                learner.open = not any(id(inner) in unlearned for inner in _inside(learner.lazy))
            parts = {id(part): part for part, learner in waiting if learner.open}
            for frame in walk():
                for part in parts.values():
                    part.apply(frame)
            walks += 1
            still = []
            for part, learner in waiting:
                if not (learner.open and learner.conclude()):
                    still.append((part, learner))
                else:
                    learner.open = False
            waiting = still
    finally:
        for _, own in learners:
            for learner in own:
                learner.lazy.stateful_transform = learner.transform
    return walks


def _learner(lazy) -> _Learner:
    return _LEARNERS[type(lazy.stateful_transform).__name__](lazy)


def _inside(lazy) -> list:
    """Calls within the arguments of a call."""
    found = []
    for inner in [*getattr(lazy, "args", ()), *getattr(lazy, "kwargs", {}).values()]:
        found += [inner, *_inside(inner)]
    return found


def states_of(columns: Columns) -> list[dict]:
    """What the transformations learned, as plain numbers."""
    found = []
    for lazy in columns.stateful:
        own = lazy.stateful_transform
        kind = type(own).__name__
        if kind == "BSpline":
            state: dict = {"knots": [float(knot) for knot in own._knots]}
        elif kind == "Polynomial":
            state = {"alpha": list(map(float, own.alpha.values())), "norms": list(map(float, own.norms2.values()))}
        else:
            state = {"mean": float(own.mean)} | ({"sd": float(own.std)} if kind == "Scale" else {})
        found.append({"call": kind, **state})
    return found


def set_states(columns: Columns, states: Sequence[dict]) -> None:
    """Give the transformations what :func:`states_of` found, after checking that it is of their kind and size.

    Raises
    ------
    DataError
        If it does not fit the expression.
    """
    kinds = [type(lazy.stateful_transform).__name__ for lazy in columns.stateful]
    if kinds != [state["call"] for state in states]:
        raise DataError(f"the learned transformations do not fit the formula, which has {kinds}")
    for lazy, state in zip(columns.stateful, states, strict=True):
        own = lazy.stateful_transform
        numbers = {key: np.asarray(value, dtype=np.float64) for key, value in state.items() if key != "call"}
        if not all(np.isfinite(value).all() for value in numbers.values()):
            raise DataError("a learned transformation has a number that is not finite")
        if state["call"] == "BSpline":
            _fits(len(numbers["knots"]) == len(own._knots) and bool((np.diff(numbers["knots"]) >= 0).all()))
            own._knots = numbers["knots"]
        elif state["call"] == "Polynomial":
            _fits(len(numbers["alpha"]) == len(own.alpha) and len(numbers["norms"]) == len(own.norms2))
            own.alpha = dict(enumerate(numbers["alpha"].tolist()))
            own.norms2 = dict(enumerate(numbers["norms"].tolist()))
        else:
            own.mean = float(numbers["mean"])
            if state["call"] == "Scale":
                own.std = float(numbers["sd"])


def _fits(holds: bool) -> None:
    if not holds:
        raise DataError("a learned transformation has another size than the formula asks for")
