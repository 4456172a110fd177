"""The errors and warnings of poolwise: one root, few children, helpful texts.

A message names what was given, where, what was expected, and the next step. The children are also the builtin
error a Python user would catch (``ValueError``, ``KeyError``, ``RuntimeError``).
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from reprlib import Repr


class PoolwiseError(Exception):
    """Root of every error that poolwise raises on purpose."""


class ArgumentError(PoolwiseError, ValueError):
    """An argument of a call that is not one of its allowed values."""


class FormulaError(PoolwiseError, ValueError):
    """The formula cannot be read, or asks for what the grammar does not allow."""


class DataError(PoolwiseError, ValueError):
    """The table does not fit the model: names the column, the rows and the way out."""


class PriorError(PoolwiseError, ValueError):
    """A prior or a preset is not valid: names the file or call, the key, what was found and what is allowed."""


class UnknownNameError(PoolwiseError, KeyError):
    """A name (data set, preset, group, term ...) that is not there; lists the near or valid names."""

    def __str__(self) -> str:
        # KeyError shows its argument's repr; a message must be shown as written.
        return str(self.args[0]) if self.args else ""


class FitError(PoolwiseError, RuntimeError):
    """A fit that could not be made, and what to do instead."""


class RowsNeededError(PoolwiseError, RuntimeError):
    """What was asked needs the rows of the data, and the model has only their sums."""


class StoreError(PoolwiseError, ValueError):
    """A saved fit that cannot be read or written."""


class FindingsError(PoolwiseError):
    """Findings whose action is "raise"; ``findings`` has all of the fit's."""

    def __init__(self, message: str, findings: Sequence[object]):
        super().__init__(message)
        self.findings = findings


class PoolwiseWarning(UserWarning):
    """Root of every warning of poolwise."""


class ConvergenceWarning(PoolwiseWarning):
    """A fit whose sampler or optimiser did not reach what was asked."""


class UncentredSlopeWarning(PoolwiseWarning):
    """A varying slope on a predictor whose mean is far from zero."""


class OtherFormWarning(PoolwiseWarning):
    """The form that was asked for could not be trusted; another one sampled the model."""


class PartialRunWarning(PoolwiseWarning):
    """A run that was interrupted; the draws made until then are returned."""


class _Shown(Repr):
    """Bounded in length and depth, so that no value of a file can fill, slow down or break a message."""

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write an integer of more than 4300 digits.
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"an integer of {x.bit_length()} bits"


_SHOWN = _Shown(maxlevel=4, maxstring=200, maxother=200)


def shown(value: object) -> str:
    """A value as a message shows it: its representation, cut where it is long or nested deeply.

    Examples
    --------
    >>> shown("Normall"), shown([[[[[[1]]]]]])
    ("'Normall'", '[[[[[...]]]]]')
    """
    return _SHOWN.repr(value)


def near_names(name: str, options: Iterable[str], limit: int = 8) -> str:
    """Sentence that helps after an unknown name: the nearest names, or the valid ones.

    Parameters
    ----------
    name : str
        What was given.
    options : iterable of str
        The names that exist.
    limit : int, default 8
        How many valid names are listed at most.

    Returns
    -------
    str
        For instance ``did you mean 'std_age'? Available: 'age', 'std_age'.``

    Examples
    --------
    >>> near_names("cuonty", ["county", "age"])
    "did you mean 'county'? Available: 'county', 'age'."
    """
    name, options = str(name), [str(option) for option in options]
    shown = ", ".join(repr(option) for option in options[:limit])
    more = f" and {len(options) - limit} more" if len(options) > limit else ""
    available = f"Available: {shown}{more}." if options else "There are none."
    begins = [option for option in options if len(name) > 2 and option.lower().startswith(name.lower())]
    near = begins[:1] or get_close_matches(name, options, n=1)
    return f"did you mean {near[0]!r}? {available}" if near else available
