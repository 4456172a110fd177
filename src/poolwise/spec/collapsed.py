"""Rows collapsed to sums, once: from a table, from files larger than memory, or site by site."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.basis import Basis, basis_of_moments, dependent_of_moments
from poolwise.algebra.moments import CellSums, Moments, PairwiseSums, merge_sums, sums_of_rows
from poolwise.algebra.theta import BlockStructure
from poolwise.data.columns import count, describe_values
from poolwise.data.partitions import BATCH, DaskPieces, Piece, pieces_of
from poolwise.data.scan import Scan, complete_rows, merge_scans, scan
from poolwise.errors import ArgumentError, DataError
from poolwise.priors.scale import ColumnFacts, DataFacts, EffectFacts
from poolwise.spec.design import Design, refuse_dependent
from poolwise.spec.formula import parse_formula
from poolwise.spec.learn import learn_from_stream
from poolwise.spec.recipe import ColumnNote, Evaluator, Recipe, evaluator, label_columns, recipe_of_scan
from poolwise.spec.rowless import RowlessDesign

Array = NDArray[np.float64]
# Bytes of the sums, at most.
MOST_BYTES = 4_000_000_000


@dataclass(frozen=True, eq=False)
class CollapsedData:
    """The sums of a table's rows that a Gaussian mixed model needs; :func:`poolwise.collapse` makes them.

    Parameters
    ----------
    recipe : Recipe
        Formula, levels, and what the transformations learned.
    sums : CellSums
        Counts, means and scatters by group, or by combination of groups.
    dropped : dict of str to int
        Missing values by column, of rows that were left out.
    notes : tuple of str
        What a reader should know.
    min_rows : int
        No cell, and no value of a two-valued column within a cell, has fewer rows.

    Examples
    --------
    >>> import poolwise as pw
    >>> sums = pw.collapse(pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)")
    >>> pw.Model(sums.formula, sums).fit_frequentist().fixef.round(2).to_dict()
    {'Intercept': 251.41, 'Days': 10.47}
    """

    recipe: Recipe
    sums: CellSums
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    min_rows: int = 1

    @property
    def formula(self) -> str:
        """The formula the rows were collapsed for."""
        return self.recipe.formula.text

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.sums.rows.sum())

    @cached_property
    def total(self) -> Moments:
        """Unweighted moments of all rows."""
        return self.sums.plain.total

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Levels (C, grouping columns) of each cell."""
        return codes_of(self.sums.keys, self.recipe.shape)

    @cached_property
    def evaluator(self) -> Evaluator:
        """How new rows are evaluated."""
        return evaluator(self.recipe, self.codes)

    @cached_property
    def design(self) -> Design:
        """Names, groups and sums, in place of a design with rows."""
        return RowlessDesign(self.evaluator.design, self)

    @property
    def cell_codes(self) -> list[NDArray[np.int64]]:
        """Group of each cell, by grouping factor."""
        return [factor.codes[: len(self.sums.keys)] for factor in self.evaluator.design.factors]

    def basis(self, *, centred: bool) -> Basis:
        """Coordinates of the algebra."""
        z = [k for own in self.evaluator.z for k in own]
        structure = BlockStructure(tuple(size for own in self.design.factors for size in own.structure.sizes))
        mean, scatter = self.total.mean[0], self.total.scatter[0]
        intercept = self.design.intercept
        dependent = dependent_of_moments(scatter, mean, self.n, self.evaluator.x, intercept)
        refuse_dependent(self.design.coefficient_names, dependent, self.n)
        return basis_of_moments(self.n, mean, scatter, self.evaluator.x, z, intercept, structure if centred else None)

    def equivalent(self, basis: Basis) -> tuple[Array, Array, Array, NDArray[np.int64], Array]:
        """Rows in the coordinates of the algebra that have the same cross-products as those that were collapsed.

        Returns
        -------
        ndarray (R, p), (R, sum of q), (R,), ndarray of int (R,), ndarray (R,)
            X, Z, y, cell and weight. A cell has one row at its mean, and at most as many as columns about it.
        """
        moments = self.sums.weighted
        apart, cell = moments.equivalent_rows()
        x, z = list(self.evaluator.x), [k for own in self.evaluator.z for k in own]

        def columns(U: Array, constant: float, basis: Basis) -> tuple[Array, Array, Array]:
            U = np.column_stack([U, np.full(len(U), constant)])
            return basis.rows(U[:, x], U[:, z], U[:, -2])

        at_zero = replace(basis, centre=np.zeros(len(basis.centre)), y_shift=0.0)
        means, scatters = columns(moments.mean, 1.0, basis), columns(apart, 0.0, at_zero)
        X, Z, y = (np.concatenate(both) for both in zip(means, scatters, strict=True))
        return (
            X,
            Z,
            y,
            np.concatenate([np.arange(len(moments.weight)), cell]),
            np.concatenate([moments.weight, np.ones(len(cell))]),
        )

    @property
    def counted(self) -> tuple[float, float]:
        """Rows that the likelihood counts, and the sum of the logs of precision weights."""
        if self.design.frequency:
            return float(self.sums.weighted.weight.sum()), 0.0
        return float(self.n), self.sums.log_weights

    def facts(self) -> DataFacts:
        """What the scaling rules of priors may ask of the data; without medians."""
        design, total, n = self.design, self.total, self.n
        mean, sd = total.mean[0], np.sqrt(np.einsum("kk->k", total.scatter[0]) / max(n - 1, 1))
        coded = {k for _, where, levels in design.common.terms if levels for k in range(where.start, where.stop)}
        columns = {}
        for k, name in enumerate(design.coefficient_names):
            at = self.evaluator.x[k]
            if k == design.intercept:
                continue
            low, high, two = float(self.sums.low[at]), float(self.sums.high[at]), not bool(self.sums.between[at])
            categorical = k in coded and two and low == 0.0 and high == 1.0
            columns[name] = ColumnFacts(float(mean[at]), float(sd[at]), low, high, two, categorical)
        effects = {}
        for factor, z in zip(design.factors, self.evaluator.z, strict=True):
            for k, sd_name in zip(factor.sd_columns, factor.sd_names, strict=True):
                constant = z[k] < 0
                within = 0.0 if constant else factor.sd_within(k)  # type: ignore[attr-defined]
                effects[sd_name] = EffectFacts(within, 0.0 if constant else float(sd[z[k]]), constant)
        return DataFacts(
            n=n,
            mean_y=float(mean[-1]),
            sd_y=float(sd[-1]),
            median_y=float("nan"),
            mad_y=float("nan"),
            columns=columns,
            effects=effects,
            groups={factor.name: factor.J for factor in design.factors},
            intercept=design.intercept >= 0,
        )

    def save(self, path: str | Path) -> Path:
        """Write the sums, no rows, to one small file; :func:`poolwise.load_collapsed` reads it.

        Parameters
        ----------
        path : str or Path
            An existing file is replaced once the new one is complete.

        Returns
        -------
        Path
        """
        from poolwise.spec.collapsed_file import save_collapsed

        return save_collapsed(self, path)

    def __repr__(self) -> str:
        cells, d = count(len(self.sums.keys), "cell"), self.sums.plain.mean.shape[1]
        lines = [
            f"{self.n} rows collapsed for {self.formula}",
            f"  sums     {cells} of {', '.join(self.recipe.group_columns) or 'one group'}, {d} columns; "
            f"cells of {self.sums.rows.min()} to {self.sums.rows.max()} rows",
        ]
        lines += [f"  learned  {said}" for said in self.recipe.learned]
        lines += [f"  dropped  {number} missing values of {name}" for name, number in self.dropped.items()]
        return "\n".join([*lines, *(f"  note     {note}" for note in self.notes)])


def codes_of(keys: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Codes (C, columns) behind the keys of the cells."""
    if not shape:
        return np.zeros((len(keys), 0), dtype=np.int64)
    return np.column_stack(np.unravel_index(keys, shape)).astype(np.int64)


def collapse(
    source,
    formula: str,
    *,
    weights: str | None = None,
    group_correlation: bool = True,
    missing: str = "error",
    like: CollapsedData | None = None,
    min_rows: int = 1,
    batch: int = BATCH,
    client=None,
    trusted: bool = False,
    progress: bool = False,
) -> CollapsedData:
    """Replace rows by the sums that a Gaussian mixed model needs, in bounded memory.

    Parameters
    ----------
    source : table, path, glob, or list of these
        A pandas, polars or pyarrow table; a Parquet or CSV file or a glob of them, read in batches; a pyarrow dataset;
        a DuckDB relation; a Dask DataFrame, partition by partition. It is walked through twice: once for levels, means
        and mistakes, once for the sums; in between once for each stage of learning that ``scale``, ``center``,
        ``poly`` and ``bs`` ask for.
    formula : str
        As :class:`poolwise.Model` takes it.
    weights : str, optional
        Column of precision weights.
    group_correlation : bool, default True
        False reads every ``(x | g)`` as ``(x || g)``.
    missing : {"error", "drop"}, default "error"
        What to do with rows that miss a value of a column in the formula.
    like : CollapsedData, optional
        Sums of other rows, of another site perhaps, whose levels of predictors and learned transformations are used
        instead of this source's own, so that :func:`combine` can add both.
    min_rows : int, default 1
        Refuse if a group (or a combination of groups), or a value of a two-valued column within one, has fewer rows:
        the sums of very few rows tell what the rows are.
    batch : int, default 500,000
        Rows in memory at once.
    client : distributed.Client, optional
        The cluster on which a Dask DataFrame's partitions are summed, by a tree reduction; Dask's own scheduler
        otherwise. Transformations learn from partitions brought here one after the other.
    trusted : bool, default False
        Allow any function in the formula; only for formulas you wrote yourself.
    progress : bool, default False
        Say what is being done.

    Returns
    -------
    CollapsedData
        For ``pw.Model(formula, ...)``. Its text says what was learned from the data.

    Raises
    ------
    FormulaError, DataError
        Names the partition and its rows.

    References
    ----------
    Chan, Golub & LeVeque (1983), Am. Stat. 37(3), 242-247: the sums lose no digits to a distant mean.

    Examples
    --------
    >>> import poolwise as pw
    >>> pw.collapse(pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)")
    180 rows collapsed for Reaction ~ Days + (Days | Subject)
      sums     18 cells of Subject, 2 columns; cells of 10 to 10 rows
      learned  18 groups of Subject
    """
    if missing not in ("error", "drop"):
        raise ArgumentError(f"missing={missing!r} is not known; use 'error' or 'drop'")
    for name, value in (("min_rows", min_rows), ("batch", batch)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"{name} must be a whole number of at least 1; got {value!r}")
    parsed = parse_formula(formula, trusted=trusted)
    if not group_correlation:
        parsed = replace(parsed, blocks=tuple(replace(block, correlated=False) for block in parsed.blocks))
    if parsed.weights is not None and weights is not None:
        raise DataError(
            f"weights are given twice: weighted(..., {parsed.weights}) in the formula and weights={weights!r}; keep one"
        )
    weight = weights or parsed.weights
    columns = list(dict.fromkeys([*parsed.columns, *([weight] if weight else [])]))
    opened = pieces_of(source, batch, client)
    complete = partial(complete_rows, columns=columns, weights=weight, missing=missing)

    def reduced(walk: str, own: Callable, merge: Callable):
        if progress:
            print(f"collapse: {walk}", flush=True)
        return opened.reduce(columns, own, merge) if isinstance(opened, DaskPieces) else own(opened(columns))

    own_scan = partial(_scanned, complete=complete, columns=columns, labels=label_columns(parsed))
    found, dropped = reduced("levels, means and mistakes", own_scan, _merged_scans)
    if not found.rows:
        raise DataError("no row is complete: the source has no rows, or each misses a value in a needed column")
    recipe, notes = recipe_of_scan(parsed, weights, found)
    if like is not None:
        recipe = _as_agreed(recipe, like.recipe)
    else:
        ready = evaluator(recipe)
        learn_from_stream(ready.learning, lambda: (piece.frame for piece in complete(opened(columns), dropped={})))
        recipe = ready.with_states()
    _check_shape(recipe.shape)
    sums = reduced("sums", partial(_summed, complete=complete, recipe=recipe), _merged_sums)
    data = CollapsedData(recipe, sums, dropped, notes, min_rows)
    if data.n != found.rows:
        raise DataError(f"the source had {found.rows} rows at first and {data.n} at last; it must not change meanwhile")
    _refuse_singletons(data)
    data.basis(centred=True)
    _refuse_small_cells(data)
    return data


def _scanned(pieces: Iterable[Piece], complete: Callable, columns: list[str], labels: set[str]):
    """First walk through some rows: what is known of them, and what was dropped."""
    dropped: dict[str, int] = {}
    return scan(complete(pieces, dropped=dropped), columns, labels), dropped


def _merged_scans(parts: Sequence[tuple[Scan, dict[str, int]]]) -> tuple[Scan, dict[str, int]]:
    names = {name for _, dropped in parts for name in dropped}
    counts = {name: sum(dropped.get(name, 0) for _, dropped in parts) for name in sorted(names)}
    return merge_scans([found for found, _ in parts]), counts


def _summed(pieces: Iterable[Piece], complete: Callable, recipe: Recipe) -> CellSums | None:
    """Last walk through some rows; None where there are none."""
    ready, sums = evaluator(recipe), PairwiseSums()
    d = len(ready.u) + 1
    for piece in complete(pieces, dropped={}):
        part = sums_of_rows(*ready.rows(piece))
        if len(part.keys) * (d * d + d) * 8 > MOST_BYTES:
            raise DataError(
                f"the sums of {len(part.keys)} combinations of groups and {d} columns take more than "
                f"{MOST_BYTES / 1e9:.0f} GB; use fewer or coarser grouping factors, or fewer predictors"
            )
        sums.add(part)
    return sums.result


def _merged_sums(parts: Sequence[CellSums | None]) -> CellSums | None:
    there = [part for part in parts if part is not None]
    return merge_sums(there) if there else None


def _check_shape(shape: tuple[int, ...]) -> None:
    if np.prod([float(J) for J in shape]) >= 2.0**62:
        raise DataError(
            f"the grouping columns have {' x '.join(map(str, shape))} combinations, more than can be numbered"
        )


def _refuse_singletons(data: CollapsedData) -> None:
    for factor in data.design.factors:
        if (factor.sizes == 1).all():
            raise DataError(
                f"every group of {factor.name!r} has one row ({factor.J} groups); group and residual variation cannot "
                "be told apart; use a coarser factor or leave the block out"
            )


def _refuse_small_cells(data: CollapsedData) -> None:
    """Refuse cells whose sums give rows away."""
    if data.min_rows <= 1:
        return
    sums, least = data.sums, data.min_rows
    small = sums.rows < least
    for k in np.flatnonzero(~sums.between & (sums.low < sums.high)):
        upper = (sums.plain.mean[:, k] - sums.low[k]) / (sums.high[k] - sums.low[k]) * sums.rows
        upper = np.round(upper)
        small |= ((upper > 0) & (upper < least)) | ((sums.rows - upper > 0) & (sums.rows - upper < least))
    if small.any():
        names = data.recipe.group_columns
        listed = [
            ":".join(str(data.recipe.columns[name].levels[code]) for name, code in zip(names, codes, strict=True))  # type: ignore[index]
            for codes in data.codes[small][:5]
        ]
        raise DataError(
            f"{count(int(small.sum()), 'cell')} of {':'.join(names) or 'the table'} ({describe_values(listed)} ...) "
            f"have fewer than min_rows={least} rows, or fewer with one value of a two-valued predictor, so that "
            "their sums would tell single rows; leave these rows out, merge groups, or agree on a smaller min_rows"
        )


def _as_agreed(own: Recipe, agreed: Recipe) -> Recipe:
    """The recipe with another's levels of predictors and learned transformations, if both ask the same."""
    _refuse_other(own, agreed, "like=")
    columns = dict(own.columns)
    for name, note in agreed.columns.items():
        if name not in own.group_columns:
            unseen = set(own.columns[name].levels or ()) - set(note.levels or ())
            if note.levels is not None and unseen:
                raise DataError(
                    f"column {name!r} has levels that like= does not have: "
                    f"{describe_values(sorted(map(str, unseen)))}; known levels: {describe_values(note.levels)}"
                )
            columns[name] = note
    return replace(own, columns=columns, states=agreed.states)


def _refuse_other(own: Recipe, agreed: Recipe, who: str) -> None:
    if own.formula != agreed.formula or own.weights != agreed.weights:
        raise DataError(
            f"{who} was collapsed for another model: {agreed.formula.canonical}"
            f"{f' with weights {agreed.weights!r}' if agreed.weights else ''}, not {own.formula.canonical}"
            f"{f' with weights {own.weights!r}' if own.weights else ''}"
        )
    for name, note in agreed.columns.items():
        if own.columns[name].kind != note.kind:
            raise DataError(
                f"{who}: column {name!r} holds another type there ({note.kind}, not {own.columns[name].kind})"
            )


def combine(sites: Sequence[CollapsedData], *, names: Sequence[str] | None = None) -> CollapsedData:
    """Add the sums of several sites; the result is that of all their rows together.

    Parameters
    ----------
    sites : sequence of CollapsedData
        Collapsed for one formula, with the same levels of predictors and the same learned transformations (collapse
        with ``like=`` one of them). Groups may differ: a group that several sites have is one group.
    names : sequence of str, optional
        What messages call the sites; ``site 1``, ``site 2`` ... by default.

    Returns
    -------
    CollapsedData

    Raises
    ------
    DataError
        Names the site that does not agree with the first, and in what.

    Examples
    --------
    >>> import poolwise as pw
    >>> table, formula = pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
    >>> first = pw.collapse(table[:90], formula)
    >>> second = pw.collapse(table[90:], formula, like=first)
    >>> pw.combine([first, second]).n
    180
    """
    sites = list(sites)
    if not sites or not all(isinstance(site, CollapsedData) for site in sites):
        raise ArgumentError("combine() takes a list of CollapsedData, as collapse() and load_collapsed() return them")
    called = list(names) if names is not None else [f"site {k + 1}" for k in range(len(sites))]
    if len(called) != len(sites):
        raise ArgumentError(f"names has {len(called)} names for {len(sites)} sites")
    first = sites[0].recipe
    for name, site in zip(called[1:], sites[1:], strict=True):
        _refuse_other(first, site.recipe, name)
        for column, note in site.recipe.columns.items():
            if column not in first.group_columns and note.levels != first.columns[column].levels:
                raise DataError(
                    f"{name}: column {column!r} has the levels {describe_values(note.levels or ())}, and {called[0]} "
                    f"has {describe_values(first.columns[column].levels or ())}; collapse with like= one of the sites"
                )
        if site.recipe.states != first.states:
            raise DataError(
                f"{name}: its transformations ({', '.join(site.recipe.learned)}) learned other numbers than those of "
                f"{called[0]}; collapse with like= one of the sites"
            )
    columns = {column: _merged_note(column, sites) for column in first.columns}
    recipe = replace(first, columns=columns)
    _check_shape(recipe.shape)
    data = CollapsedData(
        recipe,
        merge_sums([_renumbered(site, recipe) for site in sites]),
        {name: sum(site.dropped.get(name, 0) for site in sites) for site in sites for name in site.dropped},
        tuple(dict.fromkeys(note for site in sites for note in site.notes)),
        min(site.min_rows for site in sites),
    )
    data.basis(centred=True)
    return data


def _merged_note(column: str, sites: list[CollapsedData]) -> ColumnNote:
    notes = [site.recipe.columns[column] for site in sites]
    n = np.array([site.n for site in sites], dtype=np.float64)
    mean = float(np.average([note.mean for note in notes], weights=n))
    square = np.average([note.sd**2 + (note.mean - mean) ** 2 for note in notes], weights=n)
    merged = replace(notes[0], mean=mean, sd=float(np.sqrt(square)))
    if column not in sites[0].recipe.group_columns:
        return merged
    levels = list(dict.fromkeys(level for note in notes for level in note.levels or ()))
    in_order = all(_ascending(note.levels or ()) for note in notes)
    return replace(merged, levels=tuple(sorted(levels) if in_order else levels))


def _ascending(levels: tuple) -> bool:
    try:
        return list(levels) == sorted(levels)
    except TypeError:
        return False


def _renumbered(site: CollapsedData, recipe: Recipe) -> CellSums:
    """The sums of a site with its cells numbered by the levels of all."""
    codes = []
    for k, name in enumerate(recipe.group_columns):
        place = {level: at for at, level in enumerate(recipe.columns[name].levels or ())}
        new = np.array([place[level] for level in site.recipe.columns[name].levels or ()], dtype=np.int64)
        codes.append(new[site.codes[:, k]])
    keys = np.ravel_multi_index(codes, recipe.shape) if codes else site.sums.keys
    return replace(site.sums, keys=keys.astype(np.int64))
