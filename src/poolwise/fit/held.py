"""The ML deviance with one parameter held at a value, as a function of all others.

A group sd is the first element of the Cholesky factor of its block's covariance once its effect stands first; the
correlation of two effects is that of the first two rows; sigma is given; a common effect is a linear restriction of the
generalised least squares. The deviance is even in a diagonal element of the factor in company with its column, so the
free elements need no bounds, and a boundary is an interior point.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from poolwise.algebra.basis import Basis
from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.deviance import Deviance, deviance
from poolwise.algebra.theta import BlockStructure, lower_factor
from poolwise.spec.targets import CORRELATION, GROUP_SD, RESIDUAL, Target

# A start closer to 0 than this could stay there: the deviance is stationary where a diagonal element is 0.
LEAST_START = 0.05
# log s is kept within this.
FARTHEST = 200.0


@dataclass
class Likelihood:
    """A model's likelihood about its ML optimum.

    Parameters
    ----------
    stats : CrossProducts or CrossedProducts
        Sufficient statistics in the coordinates of ``basis``.
    basis : Basis
        The way to the units of the data.
    structure : BlockStructure
        Blocks of Lambda.
    Lambda : ndarray (q, q)
        At the ML optimum, in the coordinates of the algebra.
    """

    stats: CrossProducts | CrossedProducts
    basis: Basis
    structure: BlockStructure
    Lambda: Array
    optimum: Deviance = field(init=False)

    def __post_init__(self):
        self.optimum = deviance(self.stats, self.Lambda)
        self.offset, self.matrix = self.basis.to_coefficients
        self.from_effects = np.linalg.inv(self.basis.to_effects)


def hold(likelihood: Likelihood, target: Target) -> "Held":
    """The deviance with one parameter held."""
    kinds = {GROUP_SD: _HeldSd, CORRELATION: _HeldCorrelation}
    return kinds.get(target.kind, _HeldOutside)(likelihood, target)


class Held(ABC):
    """Free coordinates with one parameter held at a value.

    Attributes
    ----------
    lower, upper : float
        Bounds of the parameter.
    bounds : list or None
        Of the free coordinates, for an optimiser.
    """

    lower, upper = -np.inf, np.inf

    def __init__(self, likelihood: Likelihood, target: Target):
        self.likelihood, self.target, self.structure = likelihood, target, likelihood.structure
        self.bounds: list[tuple[float | None, float | None]] | None = None

    @abstractmethod
    def start(self) -> Array:
        """Free coordinates of the ML optimum, moved off its boundaries."""

    @abstractmethod
    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        """The deviance at the free coordinates and the held value, and its gradient by the coordinates."""


class _HeldOutside(Held):
    """A common effect or sigma: theta is free, in the coordinates of the algebra."""

    def start(self) -> Array:
        return self.structure.theta(_off_boundary(self.likelihood.Lambda))

    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        p = self.likelihood
        Lambda = self.structure.factor(x)
        if self.target.kind == RESIDUAL:
            at = deviance(p.stats, Lambda, (value / p.basis.y_scale) ** 2)
        else:
            k = self.target.where[0]
            at = deviance(p.stats, Lambda, restriction=(p.matrix[k], value - p.offset[k]))
        return at.value, self.structure.theta(at.gradient)


class _HeldInBlock(Held):
    """An sd or a correlation: its effects stand first in their block, x are the free elements of the new factor."""

    def __init__(self, likelihood: Likelihood, target: Target):
        super().__init__(likelihood, target)
        order = list(range(self.structure.q))
        block = self.structure.block_of[target.where[0]]
        first = self.structure.starts[block]
        last = first + self.structure.sizes[block]
        rest = [k for k in range(first, last) if k not in target.where]
        order[first:last] = [*target.where, *rest]
        self.first = first
        # Effects in the units of the data, the order changed, to those of the algebra.
        self.to_algebra = likelihood.from_effects[:, order]
        self.from_algebra = likelihood.basis.to_effects[order]

    def _start_factor(self) -> Array:
        return lower_factor(self.from_algebra @ _off_boundary(self.likelihood.Lambda))

    def _evaluate(self, relative: Array, s: float | None) -> tuple[Deviance, Array]:
        """Deviance and its derivative by the factor in the new order."""
        root = self.to_algebra @ relative
        Lambda = lower_factor(root)
        at = deviance(self.likelihood.stats, Lambda, s)
        # root = Lambda Q' with Q orthogonal, and the derivative by any root is 2 G root.
        return at, self.to_algebra.T @ (at.gradient @ _rotation(Lambda, root))


class _HeldSd(_HeldInBlock):
    """x = the free elements of the relative factor, then log s."""

    lower = 0.0

    def __init__(self, likelihood: Likelihood, target: Target):
        super().__init__(likelihood, target)
        self.free = [position for position in self.structure.positions if position != (self.first, self.first)]

    def start(self) -> Array:
        factor = self._start_factor()
        return np.array([*(factor[position] for position in self.free), np.log(self.likelihood.optimum.s)])

    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        # A line search may try any step; exp must not overflow.
        s = float(np.exp(np.clip(x[-1], -FARTHEST, FARTHEST)))
        relative = np.zeros((self.structure.q, self.structure.q))
        for position, element in zip(self.free, x[:-1], strict=True):
            relative[position] = element
        held = value / np.sqrt(s)
        relative[self.first, self.first] = held
        at, by_factor = self._evaluate(relative, s)
        by_log_s = at.by_log_s - by_factor[self.first, self.first] * held / 2
        return at.value, np.array([*(by_factor[position] for position in self.free), by_log_s])


class _HeldCorrelation(_HeldInBlock):
    """x = the two relative sds, not negative, then the free elements of the other rows."""

    lower, upper = -1.0, 1.0

    def __init__(self, likelihood: Likelihood, target: Target):
        super().__init__(likelihood, target)
        f = self.first
        self.free = [pair for pair in self.structure.positions if pair not in ((f, f), (f + 1, f), (f + 1, f + 1))]
        self.bounds = [(0.0, None), (0.0, None), *([(None, None)] * len(self.free))]

    def start(self) -> Array:
        factor, f = self._start_factor(), self.first
        sds = np.sqrt((factor[f : f + 2] ** 2).sum(axis=1))
        return np.array([*sds, *(factor[position] for position in self.free)])

    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        f, left = self.first, np.sqrt(max(0.0, 1 - value**2))
        relative = np.zeros((self.structure.q, self.structure.q))
        relative[f, f], relative[f + 1, f], relative[f + 1, f + 1] = x[0], value * x[1], left * x[1]
        for position, element in zip(self.free, x[2:], strict=True):
            relative[position] = element
        at, by_factor = self._evaluate(relative, None)
        by_second = by_factor[f + 1, f] * value + by_factor[f + 1, f + 1] * left
        return at.value, np.array([by_factor[f, f], by_second, *(by_factor[position] for position in self.free)])


def _off_boundary(Lambda: Array) -> Array:
    moved = Lambda.copy()
    np.fill_diagonal(moved, np.maximum(np.diag(Lambda), LEAST_START))
    return moved


def _rotation(Lambda: Array, root: Array) -> Array:
    """Q' of root = Lambda Q', rows and columns orthonormal."""
    Q, R = np.linalg.qr(root.T)
    signs = np.where(np.diag(R) < 0, -1.0, 1.0)
    return (Q * signs).T
