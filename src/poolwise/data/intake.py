"""Any table the user has, as a pandas frame of plain columns; the caller's table is never changed."""

import unicodedata
from collections.abc import Mapping

import numpy as np
import pandas as pd

from poolwise.data.columns import kind_of
from poolwise.errors import DataError

# Larger integers have no exact float64.
EXACT = 2**53


def as_frame(data: object) -> pd.DataFrame:
    """Table as a pandas DataFrame with numpy-backed columns and rows numbered from 0.

    Parameters
    ----------
    data : DataFrame, mapping of columns, or object with ``to_pandas``
        pandas, polars, pyarrow, or a dict of equally long columns.

    Returns
    -------
    DataFrame
        New, with the index dropped. Nullable and Arrow-backed columns become float64 (if values are missing) or
        the plain numpy type; text becomes object with NaN for missing; categoricals stay. Column names are in
        Unicode normal form C.

    Raises
    ------
    DataError
        If it is not a table, if its columns have different lengths or have a MultiIndex.

    Examples
    --------
    >>> as_frame({"x": [1, 2], "g": ["a", "b"]}).columns.tolist()
    ['x', 'g']
    """
    frame = _pandas(data)
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(
            f"the columns have {frame.columns.nlevels} header levels; one is expected. "
            "Flatten them first: table.columns = ['_'.join(map(str, name)) for name in table.columns]"
        )
    frame = frame.reset_index(drop=True)
    frame.columns = _normal_names(list(frame.columns))
    columns = [_plain(frame.iloc[:, k]) for k in range(frame.shape[1])]
    plain = pd.concat(columns, axis=1) if columns else frame
    plain.columns = frame.columns
    return plain


def _pandas(data: object) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, Mapping):
        return _from_mapping(data)
    convert = getattr(data, "to_pandas", None)
    if callable(convert) and not isinstance(data, type):
        converted = convert()
        if isinstance(converted, pd.DataFrame):
            return converted
    raise DataError(
        f"data is a {type(data).__name__}; expected a table: a pandas, polars or pyarrow table, or a dict of columns"
    )


def _from_mapping(data: Mapping) -> pd.DataFrame:
    columns = {}
    for name, values in data.items():
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            raise DataError(f"column {name!r} is one {type(values).__name__}; expected a sequence with one value a row")
        if np.ndim(values) > 1:
            raise DataError(f"column {name!r} has {np.ndim(values)} dimensions; expected one value a row")
        # The rows are matched by position, never by a Series' own index.
        columns[name] = values.array if isinstance(values, pd.Series) else values
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise DataError(f"the columns have different lengths: {listed}")
    return pd.DataFrame(columns)


def _normal_names(names: list) -> list:
    """Names in normal form C, unless two names would then be the same."""
    normal = [unicodedata.normalize("NFC", name) if isinstance(name, str) else name for name in names]
    changed = {new for new, old in zip(normal, names, strict=True) if new != old}
    return [old if new in changed and normal.count(new) > 1 else new for new, old in zip(normal, names, strict=True)]


def _plain(column: pd.Series) -> pd.Series:
    """Numpy-backed or categorical column with the same values."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _plain_categorical(column)
    if isinstance(dtype, pd.SparseDtype):
        return column.sparse.to_dense()
    if isinstance(dtype, np.dtype):
        return _inferred(column) if dtype.kind == "O" else column
    if isinstance(dtype, pd.StringDtype):
        return column.astype(object).where(column.notna(), np.nan)
    kind = getattr(dtype, "kind", "O")
    if kind in "mM":
        return column
    if kind in "biuf":
        return _plain_number(column, kind)
    return _inferred(column.astype(object).where(column.notna(), np.nan))


def _inferred(column: pd.Series) -> pd.Series:
    """Objects as numbers if they all are; text stays object, where pandas 3 would make it its own type."""
    found = column.infer_objects()
    return column if isinstance(found.dtype, pd.StringDtype) else found


def _plain_categorical(column: pd.Series) -> pd.Series:
    categories = _plain(pd.Series(column.cat.categories))
    if kind_of(categories) in ("time", "other"):
        # Intervals of pd.cut, dates: as categories they are labels, and a label is a text.
        categories = categories.map(str).astype(object)
    return column.cat.rename_categories(categories.to_numpy())


def _plain_number(column: pd.Series, kind: str) -> pd.Series:
    """Nullable number as numpy: float64 with NaN if any value is missing, exactly."""
    missing = column.isna()
    if not missing.any():
        return column.astype(column.dtype.numpy_dtype) if hasattr(column.dtype, "numpy_dtype") else column
    present = column[~missing]
    if kind in "iu" and int(present.astype(object).map(abs).max() if len(present) else 0) > EXACT:
        # Large integers with missing values (identifiers) stay Python integers, because a float would merge them.
        return column.astype(object).where(~missing, np.nan)
    values = np.full(len(column), np.nan)
    values[~missing.to_numpy()] = present.to_numpy(dtype=np.float64)
    return pd.Series(values, index=column.index, name=column.name)
