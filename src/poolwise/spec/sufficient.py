"""The sufficient statistics of a design with at most one grouping factor, whole or for some of its rows."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.basis import Basis, centring, make_basis
from poolwise.algebra.crossproducts import CrossProducts, cross_products
from poolwise.algebra.theta import BlockStructure
from poolwise.errors import FitError
from poolwise.spec.design import Design
from poolwise.spec.grouping import refuse_grouping

if TYPE_CHECKING:
    from poolwise.spec.collapsed import CollapsedData


@dataclass(frozen=True)
class Sufficient:
    """What is left of a design once its rows are collapsed.

    Parameters
    ----------
    basis : Basis
        Coordinates of the algebra.
    stats : CrossProducts
        Sums over the rows, in those coordinates.
    structure : BlockStructure
        Blocks of the group covariance.
    """

    basis: Basis
    stats: CrossProducts
    structure: BlockStructure


def sufficient(
    design: Design, rows: NDArray[np.bool_] | None = None, basis: Basis | None = None, *, centred: bool = True
) -> Sufficient:
    """Collapse a design.

    Parameters
    ----------
    design : Design
        With at most one grouping factor.
    rows : ndarray of bool (n,), optional
        Only these rows.
    basis : Basis, optional
        Coordinates to use, so that statistics of different rows subtract; chosen for the design by default.
    centred : bool, default True
        Whether the algebra's group intercepts stand at the means of their block's predictors, or at zero.

    Returns
    -------
    Sufficient

    Raises
    ------
    FitError
        If the design has several grouping factors.
    """
    refuse_grouping(design, "the algebra of the collapsed form")
    if len(design.factors) > 1:
        listed = ", ".join(factor.name for factor in design.factors)
        raise FitError(
            f"the collapsed form serves one grouping factor, this model has {len(design.factors)} ({listed}); "
            "Model.fit(form='generative') samples it with explicit effects"
        )
    if design.collapsed is not None:
        return _from_sums(design.collapsed, centred=centred)
    factor = design.factors[0] if design.factors else None
    Z = factor.Z if factor else np.zeros((design.n, 0))
    codes = factor.codes if factor else np.zeros(design.n, dtype=np.int64)
    y = design.y - design.offset
    structure = factor.structure if factor else BlockStructure(())
    basis = basis or make_basis(design.X, Z, y, design.intercept, centring(Z, structure) if centred else None)
    chosen = slice(None) if rows is None else rows
    X, Z, y = basis.rows(design.X[chosen], Z[chosen], y[chosen])
    weights = None if design.weights is None else design.weights[chosen]
    J = factor.J if factor else 0
    stats = cross_products(X, Z, y, codes[chosen], J, weights, frequency=design.frequency)
    return Sufficient(basis, stats, structure)


def _from_sums(data: "CollapsedData", *, centred: bool) -> Sufficient:
    basis = data.basis(centred=centred)
    X, Z, y, cell, w = data.equivalent(basis)
    factors = data.design.factors
    structure = factors[0].structure if factors else BlockStructure(())
    codes = data.cell_codes[0] if factors else np.zeros(len(data.sums.keys), dtype=np.int64)
    stats = cross_products(X, Z, y, codes[cell], factors[0].J if factors else 0, w)
    return Sufficient(basis, counted(stats, data, 0), structure)


def counted(stats: CrossProducts, data: "CollapsedData", f: int) -> CrossProducts:
    """Sums of equivalent rows, with the numbers of rows there were; ``f`` is the position of the factor."""
    n, log_weights = data.counted
    sizes = data.design.factors[f].sizes if data.design.factors else np.zeros(0)
    return replace(stats, n=n, log_weights=log_weights, counts=np.asarray(sizes, dtype=np.float64))
