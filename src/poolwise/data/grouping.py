"""Grouping columns as categoricals, and the factors that cannot be pooled."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import CATEGORICAL, NUMBER, count, describe_values, kind_of


def as_groups(
    part: pd.DataFrame, frame: pd.DataFrame, factors: Sequence[str]
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Make grouping columns categoricals of the levels that occur.

    Parameters
    ----------
    part : DataFrame
        Complete rows.
    frame : DataFrame
        All rows, to tell which groups lost theirs.
    factors : sequence of str
        Grouping columns. Other categoricals lose their unused levels too.

    Returns
    -------
    DataFrame, list of str, list of str
        The new columns, problems, and notes for the reader.
    """
    problems, notes, columns = [], [], {}
    for name in part.columns:
        if kind_of(part[name]) == CATEGORICAL:
            notes += _unused(part[name], frame[name], name)
            columns[name] = part[name].cat.remove_unused_categories()
            if name in factors:
                problems += _alike(columns[name].cat.categories, name)
        elif name in factors:
            values = part[name]
            if kind_of(values) == NUMBER and not _is_integral(values):
                rows = np.flatnonzero(np.mod(values.to_numpy(dtype=np.float64), 1) != 0)
                example = values.iloc[rows[0]]
                advice = "a grouping factor is made of labels: convert it to integers, text or a pd.Categorical"
                problems.append(f"the grouping factor {name!r} holds fractions such as {example}; {advice}")
                continue
            columns[name] = _labelled(values)
            lost = sorted(set(_labelled(frame[name].dropna()).cat.categories) - set(columns[name].cat.categories))
            notes += _lost(name, lost)
        else:
            columns[name] = part[name]
    return pd.DataFrame(columns, index=part.index), problems, notes


def _unused(kept: pd.Series, whole: pd.Series, name: str) -> list[str]:
    """Note levels that never occur, and levels that occur only in dropped rows."""
    present, before = set(kept.unique()), set(whole.dropna().unique())
    never = [level for level in whole.cat.categories if level not in before]
    notes = []
    if never:
        notes.append(f"column {name!r}: {count(len(never), 'unused level')} ({describe_values(never)}) ignored")
    return notes + _lost(name, [level for level in whole.cat.categories if level in before and level not in present])


def _lost(name: str, levels: Sequence[object]) -> list[str]:
    if not levels:
        return []
    groups = f"{count(len(levels), 'group')} ({describe_values(levels)})"
    return [f"column {name!r}: {groups} left out, every row of which misses a value"]


def label_texts(column: pd.Series) -> NDArray[np.object_]:
    """Labels as text by which groups are found again: whole numbers alike, whether they are integers or floats.

    Examples
    --------
    >>> label_texts(pd.Series([1.0, 2.5])).tolist(), label_texts(pd.Series(["1.0"])).tolist()
    (['1', '2.5'], ['1.0'])
    """
    codes, values = pd.factorize(column.astype(object))
    return np.array([label_text(value) for value in values], dtype=object)[codes]


def label_text(label: object) -> str:
    """One label as text, see :func:`label_texts`."""
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def _alike(levels: Sequence[object], name: str) -> list[str]:
    texts = [label_text(level) for level in levels]
    twice = sorted({text for text in texts if texts.count(text) > 1}) if len(set(texts)) < len(texts) else []
    if not twice:
        return []
    return [
        f"the grouping factor {name!r} has different labels that print alike ({describe_values(twice)}); rename them"
    ]


def _is_integral(values: pd.Series) -> bool:
    return values.dtype.kind != "f" or bool((np.mod(values, 1) == 0).all())


def _labelled(values: pd.Series) -> pd.Series:
    """Sorted categorical; whole floats (integers that had missing values) are labelled 1, not 1.0."""
    if values.dtype.kind == "f":
        values = values.map(lambda value: int(value) if float(value).is_integer() else value).astype(object)
    levels = sorted(pd.unique(values).tolist())
    return pd.Series(pd.Categorical(values, categories=levels), index=values.index)


def group_problems(part: pd.DataFrame, cells: Sequence[tuple[str, ...]], singletons_ok: bool) -> list[str]:
    """List the factors that cannot be pooled: one group only, or one row in every group."""
    problems = []
    for cell in dict.fromkeys(cells):
        sizes = part.groupby(list(cell), observed=True).size()
        name = ":".join(cell)
        if len(sizes) == 1:
            only = sizes.index[0]
            group = ":".join(map(str, only)) if isinstance(only, tuple) else only
            problems.append(f"the grouping factor {name!r} has one group only ({group}); partial pooling needs several")
        elif len(sizes) == len(part) and not singletons_ok:
            advice = "group and residual variation cannot be told apart; use a coarser factor or leave the block out"
            problems.append(f"every group of {name!r} has one row ({len(sizes)} groups); {advice}")
    return problems
