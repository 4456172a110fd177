"""The sums, or counts, of several sites added: as if all their rows stood in one table."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.moments import CellSums, merge_sums
from poolwise.data.columns import CATEGORICAL, describe_values
from poolwise.errors import ArgumentError, DataError
from poolwise.spec.collapse import check_shape
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.counted import CountedData, agreeing, recipe_of_counts
from poolwise.spec.counts import in_order, merge_counts, plain
from poolwise.spec.recipe import ColumnNote, Recipe, refuse_other


def combine(
    sites: Sequence[CollapsedData | CountedData], *, names: Sequence[str] | None = None
) -> CollapsedData | CountedData:
    """Add the sums, or the counts, of several sites; the result is that of all their rows together.

    Parameters
    ----------
    sites : sequence of CollapsedData, or of CountedData
        Collapsed for one formula, with the same levels of predictors and the same learned transformations (collapse
        with ``like=`` one of them). Groups may differ: a group that several sites have is one group. Folds stay apart
        where all sites have as many. Counts have the levels of text and numbers that any site has.
    names : sequence of str, optional
        What messages call the sites; ``site 1``, ``site 2`` ... by default.

    Returns
    -------
    CollapsedData or CountedData
        As the sites are.

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
    kinds = {type(site) for site in sites}
    if kinds not in ({CollapsedData}, {CountedData}):
        raise ArgumentError(
            "combine() takes a list of CollapsedData, or of CountedData, as collapse() and load_collapsed() return them"
        )
    called = list(names) if names is not None else [f"site {k + 1}" for k in range(len(sites))]
    if len(called) != len(sites):
        raise ArgumentError(f"names has {len(called)} names for {len(sites)} sites")
    if kinds == {CountedData}:
        return _counts([site for site in sites if isinstance(site, CountedData)], called)
    return _sums([site for site in sites if isinstance(site, CollapsedData)], called)


def _counts(sites: list[CountedData], called: list[str]) -> CountedData:
    """Counts of all sites, where a model can be made of them."""
    first = sites[0]
    for name, site in zip(called[1:], sites[1:], strict=True):
        agreeing(site, first, name)
        _refuse_states(site.states != first.states, name, called[0])
        notes = recipe_of_counts(site).columns
        for column, note in recipe_of_counts(first).columns.items():
            if note.kind == CATEGORICAL and note != notes[column]:
                raise DataError(
                    f"{name}: column {column!r} has other categories, or in another order, than {called[0]}; collapse "
                    "with like= one of the sites"
                )
    folds, said = _folds(sites, called)
    cells = [site.parts if folds > 1 else site.counts for site in sites]
    cells = [replace(own, keys=plain(own.keys)) for own in cells]
    added = merge_counts(cells, sum(len(own.rows) for own in cells))
    keys = first.counts.keys
    parts = in_order(added, {str(name): keys[name].dtype for name in keys.select_dtypes("category")})
    least = min(site.min_rows for site in sites)
    return CountedData(
        first.recipe, first.family, first.weights, parts, first.states, _dropped(sites), least, folds, said
    ).check()


def _sums(sites: list[CollapsedData], called: list[str]) -> CollapsedData:
    first = sites[0].recipe
    for name, site in zip(called[1:], sites[1:], strict=True):
        refuse_other(first, site.recipe, name)
        for column, note in site.recipe.columns.items():
            if column not in first.group_columns and note.levels != first.columns[column].levels:
                raise DataError(
                    f"{name}: column {column!r} has the levels {describe_values(note.levels or ())}, and {called[0]} "
                    f"has {describe_values(first.columns[column].levels or ())}; collapse with like= one of the sites"
                )
        _refuse_states(site.recipe.states != first.states, name, called[0])
    columns = {column: _merged_note(column, sites) for column in first.columns}
    recipe = replace(first, columns=columns)
    folds, notes = _folds(sites, called)
    check_shape((*recipe.shape, folds))
    data = CollapsedData(
        recipe,
        merge_sums([_renumbered(site, recipe, folds) for site in sites]),
        _dropped(sites),
        notes,
        min(site.min_rows for site in sites),
        folds,
    )
    data.basis(centred=True)
    return data


def _folds(sites: Sequence[CollapsedData | CountedData], called: list[str]) -> tuple[int, tuple[str, ...]]:
    """Folds that all sites keep apart, 1 where they do not agree, and the notes of all."""
    numbers = [site.folds for site in sites]
    folds = numbers[0] if len(set(numbers)) == 1 else 1
    notes = [note for site in sites for note in site.notes]
    if folds == 1 and max(numbers) > 1:
        kept = ", ".join(f"{name} {k if k > 1 else 'none'}" for name, k in zip(called, numbers, strict=True))
        notes.append(f"the sites keep other numbers of folds apart ({kept}), so the sums together keep none")
    return folds, tuple(dict.fromkeys(notes))


def _refuse_states(differ: bool, name: str, first: str) -> None:
    if differ:
        raise DataError(
            f"{name}: its transformations learned other numbers than those of {first}; collapse with like= one of the "
            "sites"
        )


def _dropped(sites: Sequence[CollapsedData | CountedData]) -> dict[str, int]:
    return {name: sum(site.dropped.get(name, 0) for site in sites) for site in sites for name in site.dropped}


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


def _ascending(levels: tuple[Any, ...]) -> bool:
    try:
        return list(levels) == sorted(levels)
    except TypeError:
        return False


def _renumbered(site: CollapsedData, recipe: Recipe, folds: int) -> CellSums:
    """The sums of a site with its cells numbered by the levels of all, its folds apart if all have as many."""
    codes: list[NDArray[np.int64]] = []
    for k, name in enumerate(recipe.group_columns):
        place: dict[Any, int] = {level: at for at, level in enumerate(recipe.columns[name].levels or ())}
        new = np.array([place[level] for level in site.recipe.columns[name].levels or ()], dtype=np.int64)
        codes.append(new[site.codes[:, k]])
    keys = np.ravel_multi_index(codes, recipe.shape) if codes else site.sums.keys
    if folds == 1:
        return replace(site.sums, keys=keys.astype(np.int64))
    return replace(site.parts, keys=keys.astype(np.int64)[site.cell_of_part] * folds + site.fold_of_part)
