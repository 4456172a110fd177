"""The event of a response of two labels, ``y["yes"] ~ x``: the column as 0 and 1."""

from dataclasses import replace

import numpy as np
import pandas as pd

from poolwise.data.columns import NUMBER, describe_values, kind_of
from poolwise.errors import DataError, near_names
from poolwise.spec.families import Family
from poolwise.spec.formula import Formula
from poolwise.spec.syntax import quote


def with_event(frame: pd.DataFrame, formula: Formula, family: Family) -> tuple[pd.DataFrame, Formula, str]:
    """The table with the event of its response as 1, the formula of that table, and a note of what was done.

    Parameters
    ----------
    frame : DataFrame
        Not changed.
    formula : Formula
        ``event`` is the label that is 1; without, all stays as it is and the note is empty.
    family : Family
        Of the response: one of 0 and 1.

    Returns
    -------
    tuple of DataFrame, Formula and str

    Raises
    ------
    DataError
        If the family's response is not 0 and 1, or the column does not hold two labels of which the event is one.
    """
    name = formula.response_columns[0]
    if not formula.event or name not in frame.columns:
        return frame, formula, ""
    said = f"{quote(name)}[{formula.event!r}]"
    if family.holds != "binary":
        raise DataError(
            f"{said} names the event of a response of two labels, for family='bernoulli'; family {family.name!r} takes "
            f"the column itself: {quote(name)} ~ ..."
        )
    values = frame[name]
    if kind_of(values) == NUMBER:
        raise DataError(f"the response {name!r} holds numbers, 1 being the event; write {quote(name)} ~ ...")
    labels = sorted(map(str, pd.unique(values.dropna())))
    if formula.event not in labels:
        raise DataError(f"{said} is no label of the column {name!r}; {near_names(formula.event, labels)}")
    if len(labels) != 2:
        listed = describe_values(list(map(repr, labels)), first=5)
        raise DataError(
            f"{said}: the column {name!r} has {len(labels)} labels ({listed}), an event and its opposite are two; make "
            "a column of two, or take family='categorical', or 'cumulative' where they have an order"
        )
    there = values.notna().to_numpy()
    event = np.where(there, values.astype(str) == formula.event, np.nan).astype(np.float64)
    other = labels[1 - labels.index(formula.event)]
    share = f"{int(np.nansum(event))} of {there.sum()} rows"
    note = f"{name} is 1 where it is {formula.event!r} ({share}), 0 where {other!r}"
    return frame.assign(**{name: event}), replace(formula, event=""), note
