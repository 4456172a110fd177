"""The sums of several sites added: as if all their rows stood in one table."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from poolwise.algebra.moments import CellSums, merge_sums
from poolwise.data.columns import describe_values
from poolwise.errors import ArgumentError, DataError
from poolwise.spec.collapse import check_shape, refuse_other
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.recipe import ColumnNote, Recipe


def combine(sites: Sequence[CollapsedData], *, names: Sequence[str] | None = None) -> CollapsedData:
    """Add the sums of several sites; the result is that of all their rows together.

    Parameters
    ----------
    sites : sequence of CollapsedData
        Collapsed for one formula, with the same levels of predictors and the same learned transformations (collapse
        with ``like=`` one of them). Groups may differ: a group that several sites have is one group. Folds stay apart
        where all sites have as many.
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
        refuse_other(first, site.recipe, name)
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
    numbers = [site.folds for site in sites]
    folds = numbers[0] if len(set(numbers)) == 1 else 1
    check_shape((*recipe.shape, folds))
    notes = [note for site in sites for note in site.notes]
    if folds == 1 and max(numbers) > 1:
        kept = ", ".join(f"{name} {k if k > 1 else 'none'}" for name, k in zip(called, numbers, strict=True))
        notes.append(f"the sites keep other numbers of folds apart ({kept}), so the sums together keep none")
    data = CollapsedData(
        recipe,
        merge_sums([_renumbered(site, recipe, folds) for site in sites]),
        {name: sum(site.dropped.get(name, 0) for site in sites) for site in sites for name in site.dropped},
        tuple(dict.fromkeys(notes)),
        min(site.min_rows for site in sites),
        folds,
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


def _renumbered(site: CollapsedData, recipe: Recipe, folds: int) -> CellSums:
    """The sums of a site with its cells numbered by the levels of all, its folds apart if all have as many."""
    codes = []
    for k, name in enumerate(recipe.group_columns):
        place = {level: at for at, level in enumerate(recipe.columns[name].levels or ())}
        new = np.array([place[level] for level in site.recipe.columns[name].levels or ()], dtype=np.int64)
        codes.append(new[site.codes[:, k]])
    keys = np.ravel_multi_index(codes, recipe.shape) if codes else site.sums.keys
    if folds == 1:
        return replace(site.sums, keys=keys.astype(np.int64))
    return replace(site.parts, keys=keys.astype(np.int64)[site.cell_of_part] * folds + site.fold_of_part)
