"""A design without rows: names, groups and sums; what would need a row says so."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.basis import centring_at
from poolwise.algebra.crossproducts import Array
from poolwise.errors import RowsNeededError
from poolwise.spec.design import Design
from poolwise.spec.evaluate import Columns
from poolwise.spec.factors import GroupingFactor

if TYPE_CHECKING:
    from poolwise.spec.collapsed import CollapsedData


def refuse_rows(what: str) -> NoReturn:
    """Say that ``what`` is gone, and what there is.

    :meta private:
    """
    raise RowsNeededError(
        f"this needs {what}, and the model was made from collapsed data, which have only sums. From sums come fit(), "
        "fit_frequentist(), coef(), summary(), ranef, varcorr, rmse(), save() and predict(new rows), and pooling "
        "studies of one grouping factor; what looks at single rows (fitted values, residuals, loo(), most predictive "
        "checks, densities, the generative and the Gaussian whitened form) takes pw.Model(formula, table) with the "
        "rows, or a sample of them"
    )


def absent(what: str) -> Any:
    """A property that is refused because it would be rows."""

    def refuse(self) -> NoReturn:
        refuse_rows(what)

    return property(refuse, doc=f"Refused: {what} is gone.")


class RowlessFactor(GroupingFactor):
    """A grouping factor whose rows are gone.

    Parameters
    ----------
    factor : GroupingFactor
        Of the rows that stand for the data.
    codes : ndarray of int (C,)
        Group of each cell.
    z : tuple of int (q,)
        Column of the sums of each column of Z, -1 for the constant.
    data : CollapsedData
        The sums.
    """

    def __init__(self, factor: GroupingFactor, codes: NDArray[np.int64], z: tuple[int, ...], data: "CollapsedData"):
        kept = {name: value for name, value in vars(factor).items() if name not in ("codes", "Z")}
        parts = tuple((block, without_rows(columns)) for block, columns in factor.parts)
        self.__dict__.update(kept | {"parts": parts, "cell_codes": codes, "z": z, "data": data})

    codes = absent("the group of each row")
    Z = absent("the rows of the group-specific part")

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each group."""
        rows = np.bincount(self.cell_codes, self.data.sums.rows, self.J)
        return rows.round().astype(np.int64)

    def spread(self, k: int) -> tuple[float, float]:
        """Mean and sd, over the rows, of column k of Z."""
        at, total = self.z[k], self.data.total
        if at < 0:
            return 1.0, 0.0
        return float(total.mean[0, at]), float(np.sqrt(total.scatter[0, at, at] / total.weight[0]))

    @property
    def centring(self) -> Array:
        """Matrix (q, q) that subtracts the means of the columns of Z in each block that has a column of ones."""
        means = np.array([self.spread(k)[0] for k in range(len(self.z))])
        return centring_at(means, np.array(self.z) < 0, self.structure)

    def sd_within(self, k: int) -> float:
        """Pooled sd of column k within groups; its total sd where it does not vary within any."""
        at = self.z[k]
        groups = self.data.sums.plain.pooled(self.cell_codes, self.J)
        n, mean = float(self.data.n), self.spread(k)[0]
        total = float(np.sqrt(self.data.total.scatter[0, at, at] / (n - 1)))
        degrees = n - self.J
        within = float(np.sqrt(groups.scatter[:, at, at].sum() / degrees)) if degrees > 0 else 0.0
        return within if within > 1e-8 * max(total, abs(mean)) else total

    def same_groups(self, other: GroupingFactor) -> bool:
        """Whether two factors divide the rows alike."""
        assert isinstance(other, RowlessFactor)
        pairs = self.cell_codes * other.J + other.cell_codes
        return self.J == other.J and len(np.unique(pairs)) == self.J

    def same_column(self, k: int, other: GroupingFactor, m: int) -> bool:
        """Whether column k of Z is column m of the other's."""
        return isinstance(other, RowlessFactor) and self.z[k] == other.z[m]

    data: "CollapsedData"
    z: tuple[int, ...]
    cell_codes: NDArray[np.int64]


class WithoutRows(Design):
    """A design whose rows are gone: what would be one of them is refused."""

    frame = absent("the rows of the table")
    outcome = absent("the response of each row")
    y = absent("the response of each row")
    X = absent("the predictors of each row")
    offset = absent("the offset of each row")
    weights = absent("the weight of each row")


class RowlessDesign(WithoutRows):
    """A design made of sums.

    Parameters
    ----------
    design : Design
        Of rows that stand for the data, the cells first.
    data : CollapsedData
        The sums.
    z : tuple of tuple of int
        Columns of the sums that make each factor's Z, -1 for the constant.
    """

    def __init__(self, design: Design, data: "CollapsedData", z: tuple[tuple[int, ...], ...]):
        C = len(data.sums.keys)
        factors = tuple(
            RowlessFactor(factor, factor.codes[:C], own, data) for factor, own in zip(design.factors, z, strict=True)
        )
        self.__dict__.update(
            formula=design.formula,
            family=design.family,
            frequency=design.frequency,
            weights_column=design.weights_column,
            common=without_rows(design.common),
            factors=factors,
            _data=data,
        )

    def narrowed(self, narrow: Callable[[Design], Design], z: tuple[tuple[int, ...], ...]) -> "RowlessDesign":
        """The same sums with fewer group-specific columns: ``narrow`` of a design with rows, and where they stand."""
        return RowlessDesign(narrow(self.collapsed.evaluator.design), self.collapsed, z)

    @property
    def without_groups(self) -> Design:
        """The design without its grouping factors."""
        return self.narrowed(lambda design: design.without_groups, ())

    @property
    def collapsed(self) -> "CollapsedData":
        """The sums."""
        return vars(self)["_data"]

    @property
    def collapses(self) -> bool:
        """Always: nothing else is left."""
        return True

    @property
    def n(self) -> int:
        """Number of rows there were."""
        return self.collapsed.n


def without_rows(columns: Columns) -> Columns:
    """The same columns, of no rows: they are evaluated on new ones."""
    empty: Array = np.empty((0, len(columns.names)))
    return Columns(empty, columns.names, columns.terms, columns.columns_used, columns._again, columns.stateful)
