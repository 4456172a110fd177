"""Sums of squares of what is linear in the columns of collapsed rows, such as residuals: exact, cell by cell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.moments import Moments
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.design import Design

# Columns of the sums, -1 for the constant, and what each cell multiplies them by (C, columns).
Term = tuple[Sequence[int], Array]


@dataclass(frozen=True)
class Linear:
    """A value of each row that is linear in the columns of the sums.

    Parameters
    ----------
    slopes : ndarray (C, d)
        What the rows of each cell multiply their columns by, the response last.
    constant : ndarray (C,)
        What is added.
    """

    slopes: Array
    constant: Array

    def moments(self, cells: Moments, cell: NDArray | slice = slice(None)) -> tuple[Array, Array]:
        """Mean of the value, and sum of its squares about it, in ``cells`` or parts of them; ``cell`` is the cell."""
        slopes = self.slopes[cell]
        mean = np.einsum("ck,ck->c", slopes, cells.mean) + self.constant[cell]
        within = np.einsum("ck,ckm,cm->c", slopes, cells.scatter, slopes)
        return mean, np.maximum(within, 0.0)

    def squares(self, cells: Moments, cell: NDArray | slice = slice(None)) -> Array:
        """Sum of the squares of the value (C,)."""
        mean, within = self.moments(cells, cell)
        return within + cells.weight * mean**2


def linear(data: CollapsedData, terms: Iterable[Term], response: float = 0.0) -> Linear:
    """Add up terms, and ``response`` times the response without its offset."""
    d = data.sums.plain.mean.shape[1]
    # The last place is that of the column of ones, which is numbered -1.
    slopes = np.zeros((len(data.sums.keys), d + 1))
    slopes[:, d - 1] = response
    for columns, values in terms:
        for k, at in enumerate(columns):
            slopes[:, at] += values[:, k]
    return Linear(slopes[:, :d], slopes[:, d])


def terms_of(design: Design, common: Array, effects: Sequence[Array]) -> list[Term]:
    """The linear predictor without offset, of common effects (p,) and those (J, q) of each grouping factor.

    Parameters
    ----------
    design : RowlessDesign
    common : ndarray (p,)
    effects : sequence of ndarray (J, q)

    Returns
    -------
    list of (columns, values)
    """
    data = design.collapsed
    assert data is not None
    everywhere = np.broadcast_to(common, (len(data.sums.keys), len(common)))
    by_group = [(factor.z, own[factor.cell_codes]) for factor, own in zip(design.factors, effects, strict=True)]  # type: ignore[attr-defined]
    return [(data.evaluator.x, everywhere), *by_group]


def residual(data: CollapsedData, terms: Iterable[Term]) -> Linear:
    """The response minus the terms of its mean."""
    return linear(data, [(columns, -values) for columns, values in terms], response=1.0)


def rmse_of_sums(design: Design, terms: Iterable[Term]) -> float:
    """Root mean squared residual of all rows; each counts as often as its frequency weight says.

    Parameters
    ----------
    design : RowlessDesign
    terms : iterable of (columns, values)
        Of the mean, as :func:`terms_of` gives them.

    Returns
    -------
    float
    """
    data = design.collapsed
    assert data is not None
    cells = data.sums.weighted if design.frequency else data.sums.plain
    return float(np.sqrt(residual(data, terms).squares(cells).sum() / cells.weight.sum()))
