"""Smooth functions of numbers, ``hsgp(x, m=20, c=1.5)``: Gaussian processes on the eigenfunctions of a box.

On the box of half-widths L around the middle of the data, with j = (j_1, ..., j_d), each from 1 to m,

    f(x) = sum_j phi_j(x) w_j,   phi_j(x) = prod_k L_k^-1/2 sin(omega_jk (x_k + L_k)),   omega_jk = pi j_k / (2 L_k),
    w_j ~ N(0, S(omega_j)),

S being the spectral density of the kernel with its sd ``sigma`` and length scale ``ell``. With ``by=g`` every level has
a function of its own.

References
----------
Solin & Sarkka (2020), Statistics and Computing 30, 419-446, for the approximation; Riutort-Mayol, Buerkner, Andersen,
Solin & Vehtari (2023), Statistics and Computing 33, 17, for the choice of m and c.
"""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from poolwise import names
from poolwise.data.memory import refuse_larger
from poolwise.errors import DataError, FormulaError, near_names
from poolwise.priors.distributions import POSITIVE
from poolwise.priors.prior import Prior, Scaled
from poolwise.priors.resolve import Parameter
from poolwise.spec.evaluate import Columns, evaluate
from poolwise.spec.syntax import Call, Literal, Name, quote, render

Array = NDArray[np.float64]
KERNELS = ("ExpQuad", "Matern52", "Matern32")
# Degrees of freedom of the t distribution that is a Matern kernel's spectral density.
MATERN = {"Matern32": 3, "Matern52": 5}
# Basis functions of one function; each is a column.
MOST = 2000
# Of the length scale where distances are in units of the largest: 0.13 to 1.6 for 95 in 100, as in Bambi.
SHAPE, RATE = 3.0, 1.0
SWITCHES = {"share_cov": True, "iso": True, "drop_first": False, "centered": False, "scale": True}


@dataclass(frozen=True, eq=False)
class Smooth:
    """One smooth term.

    Parameters
    ----------
    term : str
        As in the formula.
    kernel : str
        One of :data:`KERNELS`.
    parts : tuple of Columns
        How each predictor is read from a table.
    by : Columns or None
        Indicators of the levels, each of which has a function of its own.
    levels : tuple of str
        Of ``by``; empty without.
    frequencies : ndarray (M, d)
        omega.
    middle, half : ndarray (d,)
        Middle and half-widths of the box, in units of the predictors.
    unit : float
        What counts as 1 in the length scale: the largest distance between two rows, or 1.
    shared, isotropic, centred : bool
        One kernel for all levels; one length scale for all predictors; weights sampled as they are.
    basis : ndarray (n, M * levels)
        phi of the rows, level by level innermost.
    extent : float
        The largest distance between two rows, in units of the predictors.
    prefix : str
        Before the names of its variables; ``sigma_`` in the formula of sigma.
    category : str
        Of a categorical response, the category whose linear predictor it is part of.
    """

    term: str
    kernel: str
    parts: tuple[Columns, ...]
    by: Columns | None
    levels: tuple[str, ...]
    frequencies: Array
    middle: Array
    half: Array
    unit: float
    shared: bool
    isotropic: bool
    centred: bool
    basis: Array
    extent: float
    prefix: str = ""
    category: str = ""

    @property
    def name(self) -> str:
        """Its name in the posterior, before ``_sigma``, ``_ell``, ``_weights``."""
        return names.variable(self.prefix + self.term)

    def called(self, kind: str) -> str:
        """Its variable of a kind: ``sigma``, ``ell``, ``weights``."""
        return names.in_category(f"{self.name}_{kind}", names.variable(self.category))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its weights: functions of the basis, and levels if there are any."""
        return (len(self.frequencies), *([len(self.levels)] if self.levels else []))

    @property
    def weight_dims(self) -> tuple[str, ...]:
        """Dimensions of the weights."""
        return (names.dimension(f"{self.name}_weights_dim"), *([self.by_dim] if self.levels else []))

    @property
    def by_dim(self) -> str:
        """Dimension of the levels."""
        return names.dimension(f"{self.name}_by")

    @property
    def coords(self) -> dict[str, Any]:
        """Of all dimensions of its variables."""
        found: dict[str, Any] = {self.weight_dims[0]: np.arange(len(self.frequencies))}
        if self.levels:
            found[self.by_dim] = list(self.levels)
        if not self.isotropic:
            found[names.dimension(f"{self.name}_var")] = [part.columns_used[0] for part in self.parts]
        return found

    @property
    def sd_names(self) -> list[str]:
        """Parameters of the kernel's sd, one a level unless they share it."""
        return [self.called(f"sigma{level}") for level in self._own_levels]

    @property
    def length_names(self) -> list[str]:
        """Parameters of the length scale, predictor by predictor, level by level innermost."""
        columns = [] if self.isotropic else [part.columns_used[0] for part in self.parts]
        if not columns:
            return [self.called(f"ell{level}") for level in self._own_levels]
        return [
            self.called(names.in_category(f"ell[{own}]", level[1:-1])) for own in columns for level in self._own_levels
        ]

    @property
    def _own_levels(self) -> list[str]:
        return [""] if self.shared or not self.levels else [f"[{level}]" for level in self.levels]

    @property
    def variables(self) -> set[str]:
        """Names in the posterior."""
        return {self.called(kind) for kind in ("sigma", "ell", "weights")}

    @property
    def parameters(self) -> list[Parameter]:
        """What needs a prior, with its default: an sd about that of the response, a length within the data."""
        sd = Prior("Exponential", lam=1.0 if self.prefix or self.category else Scaled("one_over_sd_y", 1.0))
        length = Prior("InverseGamma", alpha=SHAPE, beta=RATE * self.extent / self.unit)
        found = [Parameter(name, "smooth_sd", name, POSITIVE, sd) for name in self.sd_names]
        return found + [Parameter(name, "smooth_length", name, POSITIVE, length) for name in self.length_names]

    def apply(self, frame: pd.DataFrame) -> Array:
        """The basis (m, M * levels) at the rows of a table.

        Raises
        ------
        DataError
            For rows beyond the box, where the sines would only mirror what is inside, and levels that were not there.
        """
        x = np.column_stack([part.apply(frame) for part in self.parts]) - self.middle
        beyond = np.flatnonzero((np.abs(x) > self.half).any(axis=1))
        if len(beyond):
            ends = " and ".join(
                f"{part.columns_used[0]} from {low:g} to {high:g}"
                for part, low, high in zip(self.parts, self.middle - self.half, self.middle + self.half, strict=True)
            )
            raise DataError(
                f"row {beyond[0]} lies beyond the box of {self.term}, {ends} ({len(beyond)} such rows); the function "
                "is not known there. Fit with a larger c=, or leave these rows out"
            )
        phi = np.ones((len(frame), len(self.frequencies)))
        for k, half in enumerate(self.half):
            phi *= np.sin(self.frequencies[:, k] * (x[:, [k]] + half)) / np.sqrt(half / self.unit)
        if self.by is None:
            return phi
        return (phi[:, :, None] * self.by.apply(frame)[:, None, :]).reshape(len(frame), -1)

    def of_rows(self, rows: NDArray) -> "Smooth":
        """The same function with the basis of these rows only."""
        return replace(self, basis=self.basis[rows])


def make_smooth(call: Call, frame: pd.DataFrame, *, prefix: str = "", trusted: bool = False) -> Smooth:
    """Learn the box of a smooth term from a table.

    Parameters
    ----------
    call : Call
        ``hsgp(x, m=20, c=1.5, ...)``.
    frame : DataFrame (n rows)
        Checked.
    prefix : str, optional
        Before the names of its variables.
    trusted : bool, default False
        As :func:`.evaluate` takes it.

    Raises
    ------
    FormulaError
        For arguments that are missing or not what they must be.
    DataError
        For a predictor that is no number, or does not vary.
    """
    term, options = render(call), dict(call.keywords)
    functions, factor, half = _integer(term, options), _positive(term, options, "c"), _positive(term, options, "L")
    if (factor is None) == (half is None):
        raise FormulaError(
            f"{term} takes the size of its box once: c= (1.5, say: half as far again) or L= (half-width)"
        )
    kernel = _text(term, options)
    given = {key: _switch(term, options, key, usual) for key, usual in SWITCHES.items()}
    parts = tuple(_number(term, argument, frame, trusted) for argument in call.arguments)
    x = np.column_stack([part.matrix for part in parts])
    middle, reach = (x.max(axis=0) + x.min(axis=0)) / 2, (x.max(axis=0) - x.min(axis=0)) / 2
    for part, own in zip(parts, reach, strict=True):
        if not own > 0:
            raise DataError(f"{term}: column {part.columns_used[0]!r} does not vary")
    halves = np.full(len(reach), half) if factor is None else factor * reach
    if (halves < reach).any():
        raise FormulaError(
            f"{term}: the data lie up to {reach.max():g} from their middle, beyond the box of half-width "
            f"{halves[np.argmax(reach)]:g}; c= must be at least 1, 1.5 is usual"
        )
    if functions ** len(parts) > MOST:
        raise FormulaError(f"{term} has {functions ** len(parts)} basis functions, more than {MOST}; lower m")
    by = options.get("by")
    indicators = None if by is None else evaluate(f"0 + C({quote(_column(by))})", frame, trusted=trusted)
    levels = () if indicators is None else tuple(indicators.terms[0][2] or ())
    columns = functions ** len(parts) * max(1, len(levels))
    refuse_larger(16.0 * len(frame) * columns, f"{term}: {len(frame)} rows of {columns} columns", "Lower m=", DataError)
    extent = _largest_distance(x)
    steps = np.array(list(itertools.product(range(1, functions + 1), repeat=len(parts))), dtype=float)
    made = Smooth(
        term=term,
        kernel=kernel,
        parts=parts,
        by=indicators,
        levels=levels,
        frequencies=(np.pi * steps / (2 * halves))[int(given["drop_first"]) :],
        middle=middle,
        half=halves,
        unit=extent if given["scale"] else 1.0,
        shared=given["share_cov"],
        isotropic=given["iso"] or len(parts) == 1,
        centred=given["centered"],
        basis=np.zeros((0, 0)),
        extent=extent,
        prefix=prefix,
    )
    return replace(made, basis=made.apply(frame))


def _number(term: str, argument: Any, frame: pd.DataFrame, trusted: bool) -> Columns:
    column = _column(argument)
    if not pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column]):
        raise DataError(f"{term}: column {column!r} holds {frame[column].dtype}, and a smooth function takes numbers")
    return evaluate(f"0 + {quote(column)}", frame, trusted=trusted)


def _column(node: Any) -> str:
    assert isinstance(node, Name)
    return node.name


def _integer(term: str, options: dict) -> int:
    value = _positive(term, options, "m")
    if value is None or value != int(value) or value < 2:
        raise FormulaError(f"{term} takes m=, the number of basis functions of each predictor, 2 or more: m=20")
    return int(value)


def _positive(term: str, options: dict, key: str) -> float | None:
    node = options.get(key)
    if node is None or (isinstance(node, Literal) and node.text == "None"):
        return None
    if not (isinstance(node, Literal) and node.kind == "number" and float(node.text) > 0):
        raise FormulaError(f"{term}: {key}= takes a number above 0, not {render(node)}")
    return float(node.text)


def _text(term: str, options: dict) -> str:
    node = options.get("cov")
    if node is None:
        return KERNELS[0]
    called = node.text.strip('"') if isinstance(node, Literal) else render(node)
    if called not in KERNELS:
        raise FormulaError(f"{term}: cov= is one of {', '.join(map(repr, KERNELS))}; {near_names(called, KERNELS)}")
    return called


def _switch(term: str, options: dict, key: str, usual: bool) -> bool:
    node = options.get(key)
    if node is None or (isinstance(node, Literal) and node.text == "None"):
        return usual
    if not (isinstance(node, Literal) and node.text in ("True", "False")):
        raise FormulaError(f"{term}: {key}= is True or False, not {render(node)}")
    return node.text == "True"


def _largest_distance(x: Array) -> float:
    """Largest Euclidean distance between two rows (n, d)."""
    if x.shape[1] == 1:
        return float(np.ptp(x))
    # The two farthest are corners of the hull; QJ: also where all rows lie on a line.
    corners = x[ConvexHull(x, qhull_options="QJ").vertices] if len(x) > 4 else x
    return float(pdist(corners).max())
