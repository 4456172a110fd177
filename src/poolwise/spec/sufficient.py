"""The sufficient statistics of a design with at most one grouping factor, whole or for some of its rows."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.basis import Basis, centring, make_basis
from poolwise.algebra.crossproducts import Array, CrossProducts, cross_products
from poolwise.algebra.theta import BlockStructure
from poolwise.errors import FitError
from poolwise.spec.design import Design
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.rowless import RowlessFactor


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
        Only these rows, or the rows of these parts of sums; the logs of precision weights stay those of all parts.
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
    factor = design.factors[0] if design.factors else None
    structure = factor.structure if factor else BlockStructure(())
    basis = basis or basis_of(design, centred=centred)
    X, Z, y, codes, weights = coordinates(design, basis, rows)
    stats = cross_products(X, Z, y, codes, factor.J if factor else 0, weights, frequency=design.frequency)
    return Sufficient(basis, stats if design.collapsed is None else counted(stats, design, 0, rows), structure)


def basis_of(design: Design, *, centred: bool = True) -> Basis:
    """The coordinates of the algebra for a design with at most one grouping factor."""
    if design.collapsed is not None:
        return design.collapsed.basis(centred=centred, factors=design.factors)
    Z = design.factors[0].Z if design.factors else np.zeros((design.n, 0))
    structure = design.factors[0].structure if design.factors else BlockStructure(())
    y = design.y - design.offset
    return make_basis(design.X, Z, y, design.intercept, centring(Z, structure) if centred else None)


def coordinates(
    design: Design, basis: Basis, rows: NDArray[np.bool_] | None = None
) -> tuple[Array, Array, Array, NDArray[np.int64], Array | None]:
    """X, Z, y, group and weight of the rows in the coordinates of the algebra; of sums, rows equivalent to them.

    Parameters
    ----------
    design : Design
        With at most one grouping factor.
    basis : Basis
        Without columns of Z, none are made.
    rows : ndarray of bool, optional
        Only these rows (n,), or those of these parts of sums.

    Returns
    -------
    ndarray (R, p), (R, q), (R,), ndarray of int (R,), ndarray (R,) or None
    """
    factor = design.factors[0] if design.factors else None
    grouped = len(basis.z_scale) > 0
    if design.collapsed is not None:
        assert factor is None or isinstance(factor, RowlessFactor)
        z = factor.z if factor is not None and grouped else ()
        X, Z, y, cell, w = design.collapsed.equivalent(basis, z, rows)
        return X, Z, y, np.zeros_like(cell) if factor is None else factor.cell_codes[cell], w
    chosen = slice(None) if rows is None else rows
    Z = factor.Z[chosen] if factor is not None and grouped else np.zeros((len(design.y[chosen]), 0))
    X, Z, y = basis.rows(design.X[chosen], Z, (design.y - design.offset)[chosen])
    codes = np.zeros(len(y), dtype=np.int64) if factor is None else factor.codes[chosen]
    return X, Z, y, codes, None if design.weights is None else design.weights[chosen]


def counted(stats: CrossProducts, design: Design, f: int, parts: NDArray[np.bool_] | None = None) -> CrossProducts:
    """Sums of equivalent rows, with the numbers of rows there were; ``f`` is the position of the factor."""
    data = design.collapsed
    assert data is not None
    n, log_weights = data.counted(parts)
    counts = np.zeros(0)
    if design.factors:
        factor = design.factors[f]
        assert isinstance(factor, RowlessFactor)
        chosen = slice(None) if parts is None else parts
        counts = np.bincount(factor.cell_codes[data.cell_of_part[chosen]], data.parts.rows[chosen], factor.J)
    return replace(stats, n=n, log_weights=log_weights, counts=counts)
