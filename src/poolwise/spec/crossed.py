"""The sufficient statistics of a design with several grouping factors."""

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from poolwise.algebra.basis import Basis, centring, make_basis
from poolwise.algebra.crossed import CrossedProducts, crossed_products
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import BlockStructure
from poolwise.errors import FitError
from poolwise.spec.design import Design
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.rowless import RowlessDesign
from poolwise.spec.sufficient import counted

# Of crossed factors the Schur complement is a dense matrix: 3.2 GB at this many columns.
MOST_COLUMNS = 20_000


@dataclass(frozen=True)
class CrossedSufficient:
    """What is left of a design once its rows are collapsed; the effects of all factors stand one after the other.

    Parameters
    ----------
    basis : Basis
        Coordinates of the algebra, Z being the columns of all factors.
    stats : CrossedProducts
        Sums over the rows, in those coordinates.
    structure : BlockStructure
        Blocks of the group covariances.
    """

    basis: Basis
    stats: CrossedProducts
    structure: BlockStructure


def crossed_sufficient(design: Design, *, centred: bool = True) -> CrossedSufficient:
    """Collapse a design with grouping factors that are crossed, nested or anything between.

    Parameters
    ----------
    design : Design
        With at least one grouping factor.
    centred : bool, default True
        Whether the group-specific columns are centred where a correlated block has an intercept; the map back to the
        units of the data accounts for it.

    Returns
    -------
    CrossedSufficient

    Raises
    ------
    FitError
        If the factors other than the largest are crossed and have too many effects for a dense matrix.
    """
    refuse_grouping(design, "the algebra of the collapsed form")
    structure = BlockStructure(tuple(size for factor in design.factors for size in factor.structure.sizes))
    if isinstance(design, RowlessDesign):
        return _refuse_too_dense(_from_sums(design, structure, centred=centred), design)
    Z = np.column_stack([factor.Z for factor in design.factors])
    y = design.y - design.offset
    basis = make_basis(design.X, Z, y, design.intercept, centring(Z, structure) if centred else None)
    X, Z, y = basis.rows(design.X, Z, y)
    stats = crossed_products(
        X,
        split(Z, design),
        y,
        [factor.codes for factor in design.factors],
        [factor.J for factor in design.factors],
        design.weights,
        frequency=design.frequency,
    )
    return _refuse_too_dense(CrossedSufficient(basis, stats, structure), design)


def _refuse_too_dense(sufficient: CrossedSufficient, design: Design) -> CrossedSufficient:
    stats = sufficient.stats
    if stats.columns.Q <= MOST_COLUMNS or stats.storage.pattern is not None:
        return sufficient
    sizes = sorted((factor.J * factor.structure.q, factor.name) for factor in design.factors)[:-1]
    listed = ", ".join(f"{name} with {size}" for size, name in reversed(sizes))
    raise FitError(
        f"the grouping factors beside the largest have {stats.columns.Q} effects ({listed}), so crossed that the "
        f"algebra needs the dense matrix of their square, {8e-9 * stats.columns.Q**2:.0f} GB; at most {MOST_COLUMNS} "
        "effects are served where they are crossed, any number where they are nested. Use fewer or coarser factors"
    )


def _from_sums(design: RowlessDesign, structure: BlockStructure, *, centred: bool) -> CrossedSufficient:
    data, factors = design.collapsed, design.factors
    basis = data.basis(centred=centred, factors=factors)
    z = [k for factor in factors for k in factor.z]  # type: ignore[attr-defined]
    X, Z, y, cell, w = data.equivalent(basis, z)
    codes = [factor.cell_codes[cell] for factor in factors]  # type: ignore[attr-defined]
    stats = crossed_products(X, split(Z, design), y, codes, [factor.J for factor in factors], w)
    counts = tuple(counted(one, design, f) for f, one in enumerate(stats.factors))
    return CrossedSufficient(basis, replace(stats, factors=counts), structure)


def split(columns: Array, design: Design) -> list[Array]:
    """The last axis, all factors' effects one after the other, split by factor."""
    ends = list(accumulate(factor.structure.q for factor in design.factors))
    return np.split(columns, ends[:-1], axis=-1)
