"""Tables that need not fit memory, as a sequence of named pieces that can be walked through more than once."""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.intake import as_frame
from poolwise.errors import DataError, near_names

# Rows in memory at once, by default.
BATCH = 500_000
# Partial results that are merged at once on a cluster.
FANIN = 8


@dataclass(frozen=True)
class Piece:
    """Some consecutive rows of a partition.

    Parameters
    ----------
    partition : str
        A file's name, ``partition 3``, or ``the table``.
    first : int
        Number of its first row within the partition, from 0.
    frame : DataFrame
        Plain columns, see :func:`poolwise.data.intake.as_frame`.
    numbers : ndarray of int or None
        Number of each row within the whole source, from 0; None where nobody asked.
    """

    partition: str
    first: int
    frame: pd.DataFrame
    numbers: NDArray[np.int64] | None = None


# From the needed columns to the pieces; each call walks through the rows again.
Pieces = Callable[[Sequence[str]], Iterator[Piece]]


def numbered(pieces: Iterable[Piece], start: int = 0) -> Iterator[Piece]:
    """The pieces with the numbers of their rows, which follow one another from ``start``."""
    for piece in pieces:
        yield replace(piece, numbers=np.arange(start, start + len(piece.frame)))
        start += len(piece.frame)


def pieces_of(source: Any, batch: int = BATCH, client: Any = None) -> Pieces:
    """Open a source of rows.

    Parameters
    ----------
    source : table, path, glob, or sequence of these
        A pandas, polars or pyarrow table or a dict of columns; a Parquet or CSV file or a glob of them, read in
        batches of rows; a pyarrow dataset; a DuckDB relation; a Dask DataFrame, partition by partition; a list of any.
    batch : int, default 500,000
        Rows in memory at once.
    client : distributed.Client, optional
        Where a Dask DataFrame is computed.

    Returns
    -------
    callable
        From column names to an iterator of :class:`Piece`.

    Raises
    ------
    DataError
        If nothing matches, a file is of another kind, or pyarrow is needed and not installed.
    """
    if isinstance(source, list | tuple):
        if not source:
            raise DataError("the source is an empty list; give a table, a file or a glob")
        each = [pieces_of(one, batch) for one in source]
        files = all(isinstance(one, str | Path) for one in source)

        def chained(columns: Sequence[str]) -> Iterator[Piece]:
            for k, open_ in enumerate(each):
                for piece in open_(columns):
                    name = piece.partition if files else f"partition {k}"
                    yield Piece(name, piece.first, piece.frame)

        return chained
    if isinstance(source, str | Path):
        return _of_files(str(source), batch)
    if hasattr(source, "to_delayed") and hasattr(source, "npartitions"):
        return DaskPieces(source, client)
    if hasattr(source, "fetchdf") and hasattr(source, "select"):
        # A DuckDB relation: each walk runs its query again.
        return lambda columns: _arrow_pieces("the query", source.select(*map(_quoted, columns)), batch)
    if hasattr(source, "scanner") and hasattr(source, "to_batches") and hasattr(source, "schema"):
        return lambda columns: _dataset_pieces(source, columns, batch)
    if hasattr(source, "collect") and hasattr(source, "collect_schema") and not hasattr(source, "to_pandas"):
        source = source.collect()  # a polars LazyFrame
    frame = as_frame(source)
    return lambda columns: _cut("the table", frame, columns, batch)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _cut(name: str, frame: pd.DataFrame, columns: Sequence[str], batch: int) -> Iterator[Piece]:
    known = [column for column in columns if column in frame.columns]
    for start in range(0, max(len(frame), 1), batch):
        yield Piece(name, start, frame.loc[:, known].iloc[start : start + batch].reset_index(drop=True))


def _of_files(pattern: str, batch: int) -> Pieces:
    paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) and not Path(pattern).exists() else [pattern]
    if not paths:
        raise DataError(f"no file matches {pattern!r}")
    readers = []
    for path in paths:
        if not Path(path).is_file():
            raise DataError(f"there is no file {path!r}")
        kind = "".join(Path(path).suffixes[-2:]).lower()
        if kind.endswith((".parquet", ".pq")):
            readers.append((path, _parquet_pieces))
        elif kind.endswith((".csv", ".csv.gz")):
            readers.append((path, _csv_pieces))
        else:
            raise DataError(f"{path!r} is neither a .parquet, .pq, .csv nor .csv.gz file; convert it to one of them")

    def walk(columns: Sequence[str]) -> Iterator[Piece]:
        for path, read in readers:
            yield from read(path, columns, batch)

    return walk


def _arrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError("reading this source needs pyarrow: python -m pip install 'poolwise[scale]'") from error
    return pyarrow


def _need(path: str, columns: Sequence[str], there: Sequence[str]) -> list[str]:
    for column in columns:
        if column not in there:
            raise DataError(f"{path}: the table has no column {column!r}; {near_names(column, there).rstrip('.')}")
    return list(columns)


def _parquet_pieces(path: str, columns: Sequence[str], batch: int) -> Iterator[Piece]:
    arrow = _arrow()
    first = 0
    try:
        # A reader that buffers ahead keeps what it read until it is closed: the whole file.
        with arrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            chosen = _need(path, columns, file.schema_arrow.names)
            for table in file.iter_batches(batch, columns=chosen):
                yield Piece(path, first, as_frame(table.to_pandas()))
                first += table.num_rows
    except (arrow.ArrowException, OSError) as error:
        said = str(error).strip().splitlines()[0][:200]
        raise DataError(
            f"{path}: cannot be read after row {first}, it is damaged or no Parquet file: {said}"
        ) from error


def _csv_pieces(path: str, columns: Sequence[str], batch: int) -> Iterator[Piece]:
    first = 0
    try:
        chosen = _need(path, columns, list(pd.read_csv(path, nrows=0).columns))
        with pd.read_csv(path, usecols=chosen, chunksize=batch, low_memory=False) as chunks:
            for chunk in chunks:
                yield Piece(path, first, as_frame(chunk.reset_index(drop=True)))
                first += len(chunk)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError, OSError) as error:
        raise DataError(f"{path}: cannot be read after row {first}: {error}") from error


def _arrow_pieces(name: str, relation, batch: int) -> Iterator[Piece]:
    first = 0
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    for table in read(batch):
        yield Piece(name, first, as_frame(table.to_pandas()))
        first += table.num_rows


def _dataset_pieces(dataset, columns: Sequence[str], batch: int) -> Iterator[Piece]:
    first = 0
    for table in dataset.to_batches(columns=_need("the dataset", columns, dataset.schema.names), batch_size=batch):
        if table.num_rows:
            yield Piece("the dataset", first, as_frame(table.to_pandas()))
            first += table.num_rows


class DaskPieces:
    """The partitions of a Dask DataFrame; what is reduced over them is computed where they are.

    Parameters
    ----------
    source : dask.dataframe.DataFrame
    client : distributed.Client, optional
        A cluster; Dask's own scheduler by default.
    """

    def __init__(self, source, client=None):
        self.source, self.client = source, client

    def _chosen(self, columns: Sequence[str]):
        return self.source[_need("the Dask table", columns, list(self.source.columns))]

    def __call__(self, columns: Sequence[str]) -> Iterator[Piece]:
        """The partitions one after the other, brought here."""
        chosen = self._chosen(columns)
        for k in range(chosen.npartitions):
            part = chosen.get_partition(k)
            yield Piece(f"partition {k}", 0, as_frame(part.compute() if self.client is None else self._wait(part)))

    def _wait(self, task):
        return self.client.compute(task, sync=True)

    def reduce(self, columns: Sequence[str], own: Callable, merge: Callable, *, count: bool = False):
        """Reduce a tree: ``own`` of the pieces of each partition, then ``merge`` of lists of results.

        With ``count`` the rows get their numbers: one walk through a column more, for the partitions' lengths.
        """
        import dask

        delayed = self._chosen(columns).to_delayed(optimize_graph=True)
        starts = np.concatenate([[0], np.cumsum(self._lengths(columns[:1]))]) if count else np.zeros(len(delayed) + 1)
        parts = [
            dask.delayed(_own_of_partition)(own, k, part, int(starts[k]) if count else None)
            for k, part in enumerate(delayed)
        ]
        while len(parts) > 1:
            parts = [dask.delayed(merge)(parts[k : k + FANIN]) for k in range(0, len(parts), FANIN)]
        return parts[0].compute() if self.client is None else self._wait(parts[0])

    def _lengths(self, columns: Sequence[str]) -> list[int]:
        import dask

        parts = dask.delayed([dask.delayed(len)(part) for part in self._chosen(columns).to_delayed()])
        return parts.compute() if self.client is None else self._wait(parts)


def _own_of_partition(own: Callable, k: int, frame, start: int | None):
    pieces = [Piece(f"partition {k}", 0, as_frame(frame))]
    return own(pieces if start is None else numbered(pieces, start))
