"""Presets: named, complete sets of priors kept as TOML files; found by name or path, validated, never executed."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from poolwise.errors import PoolwiseWarning, PriorError, UnknownNameError, near_names
from poolwise.priors.prior import Prior
from poolwise.priors.read import ROLES, read_preset

DEFAULT = "weakly_informative"
FOLDERS_VARIABLE = "POOLWISE_PRIORS"
ENTRY_POINTS = "poolwise.priors"
_SHIPPED = Path(__file__).parent / "catalogue"
# An editable install has the catalogue at the top of the repository.
CATALOGUE = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parents[3] / "priors"


class PresetFile(NamedTuple):
    """A file of the catalogue, and whose it is: poolwise's, of a folder in POOLWISE_PRIORS, or a package's."""

    path: Path
    kind: str
    origin: str


@dataclass(frozen=True)
class PriorPreset:
    """A named set of priors, one a role, and overrides by parameter.

    Parameters
    ----------
    name, title, description, when, when_not : str
        What it is for.
    references : tuple of str
        Where it comes from.
    source : str
        File it was read from.
    roles : dict of str to Prior
        intercept (at centred predictors), slope, group_sd_intercept, group_sd_slope, group_correlation, residual_sd.
    overrides : dict of str to Prior
        By parameter, in place of the role's prior.
    group_intercept_at : {"mean", "zero"}
        Where the priors of the sd of group intercepts and of their correlations stand: at the means of the predictors
        of their block, as the intercept's own prior does, or at zero, as in brms and Bambi.

    Examples
    --------
    >>> import poolwise as pw
    >>> pw.load_preset("pc").roles["group_sd_intercept"]
    Prior("PC", u=sd_y, alpha=0.05)
    """

    name: str
    title: str
    description: str
    when: str
    when_not: str
    references: tuple[str, ...]
    source: str
    roles: Mapping[str, Prior]
    overrides: Mapping[str, Prior] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict, repr=False)
    group_intercept_at: str = "mean"

    def for_family(self, family: str, link: str) -> "PriorPreset":
        """The preset with what its tables [link] and [family] say of a family and its link in place of the roles.

        Parameters
        ----------
        family, link : str
            For instance ``"bernoulli"`` and ``"logit"``.

        Returns
        -------
        PriorPreset

        Examples
        --------
        >>> import poolwise as pw
        >>> preset = pw.load_preset("weakly_informative")
        >>> preset.for_family("bernoulli", "logit").roles["slope"]
        Prior("Normal", mu=0, sigma=sd_y_over_sd_x)
        """
        own = {**self.extras.get("link", {}).get(link, {}), **self.extras.get("family", {}).get(family, {})}
        return replace(self, roles={**self.roles, **own})

    def override(self, priors: Mapping[str, Any]) -> "PriorPreset":
        """The same preset with other priors for some parameters.

        Parameters
        ----------
        priors : dict of str to Prior
            By parameter: ``{"std_age": Prior("Normal", mu=1, sigma=1)}``.

        Returns
        -------
        PriorPreset

        Examples
        --------
        >>> import poolwise as pw
        >>> preset = pw.load_preset("pc").override({"Days": pw.Prior("Normal", mu=0, sigma=5)})
        >>> preset.overrides
        {'Days': Prior("Normal", mu=0, sigma=5)}
        """
        added = {name: Prior.coerce(prior) for name, prior in priors.items()}
        return replace(self, overrides={**self.overrides, **added})

    def __repr__(self) -> str:
        lines = [f"Prior preset {self.name}: {self.title}"]
        lines += [f"  {role:<19} {self.roles[role]}" for role in ROLES]
        lines += [f"  {name:<19} {prior}" for name, prior in self.overrides.items()]
        return "\n".join([*lines, f"  when      {self.when}", f"  when not  {self.when_not}"])


def load_preset(name_or_path: str | Path) -> PriorPreset:
    """A preset by name or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of the catalogue, of a folder in POOLWISE_PRIORS, or of an installed package's entry point
        ``poolwise.priors``; or the path of a TOML file.

    Returns
    -------
    PriorPreset

    Raises
    ------
    UnknownNameError
        If there is no preset of this name; lists the near ones.
    PriorError
        If the file is not a valid preset; names file, table, key, what was found and what is allowed.

    Examples
    --------
    >>> load_preset("brms").roles["residual_sd"].distribution
    'HalfStudentT'
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or os.sep in text:
        return _preset(Path(name_or_path))
    files = catalogue_files()
    if text not in files:
        raise UnknownNameError(f"no prior preset {text!r}; {near_names(text, files, 30)}")
    return _preset(files[text].path)


def presets() -> pd.DataFrame:
    """The catalogue: every preset that can be named.

    Returns
    -------
    DataFrame
        Columns name, title, when, when_not, source.

    Raises
    ------
    PriorError
        If a name is taken twice, or a folder of POOLWISE_PRIORS or of an entry point is not there.

    Warns
    -----
    PoolwiseWarning
        For each file that is not a valid preset, naming it and its problems; the others are listed.

    Examples
    --------
    >>> import poolwise as pw
    >>> "weakly_informative" in pw.presets()["name"].tolist()
    True
    """
    rows = []
    for found in catalogue_files().values():
        try:
            rows.append(_preset(found.path))
        except PriorError as error:
            warnings.warn(f"not listed, {error} (from {found.origin})", PoolwiseWarning, stacklevel=2)
    return pd.DataFrame(
        [(row.name, row.title, row.when, row.when_not, row.source) for row in rows],
        columns=["name", "title", "when", "when_not", "source"],
    )


def as_preset(priors: Any) -> tuple[PriorPreset, dict[str, Prior]]:
    """Preset and overrides from what a call passes: nothing, a name, a path, a preset, or a dict of priors."""
    if priors is None:
        return load_preset(DEFAULT), {}
    if isinstance(priors, PriorPreset):
        return priors, {}
    if isinstance(priors, str | Path):
        return load_preset(priors), {}
    if isinstance(priors, Mapping):
        return load_preset(DEFAULT), dict(priors)
    raise PriorError(
        f"priors must be the name or path of a preset, a PriorPreset or a dict of pw.Prior; got {type(priors).__name__}"
    )


def _preset(path: Path) -> PriorPreset:
    return PriorPreset(**read_preset(path))


def catalogue_files() -> dict[str, PresetFile]:
    """Every preset that can be named, by name; the files are not read.

    Returns
    -------
    dict of str to PresetFile

    Raises
    ------
    PriorError
        If a name is taken twice, or a folder of POOLWISE_PRIORS or of an entry point is not there; names whose it is.
    """
    seen: dict[str, PresetFile] = {}
    visited: set[Path] = set()
    for folder, kind, origin in _folders():
        # A folder that is named twice, as happens in variables like PATH, is one folder.
        if folder.resolve() in visited:
            continue
        visited.add(folder.resolve())
        for path in sorted(folder.glob("*.toml")):
            if path.stem in seen:
                taken = seen[path.stem]
                raise PriorError(
                    f"two presets are called {path.stem!r}: {taken.path} ({taken.origin}) and {path} ({origin}); "
                    "rename yours"
                )
            seen[path.stem] = PresetFile(path, kind, origin)
    return seen


def _folders() -> Iterator[tuple[Path, str, str]]:
    """Folders of presets, and whose they are, in a word and in full."""
    yield CATALOGUE, "poolwise", "poolwise"
    for text in filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)):
        if not os.path.isdir(text):
            raise PriorError(f"{FOLDERS_VARIABLE} names {text!r}, which is not a folder")
        yield Path(text), FOLDERS_VARIABLE, FOLDERS_VARIABLE
    folders = [folder for folder in dict.fromkeys(sys.path) if os.path.isdir(folder)]
    for point in _entry_points(tuple((folder, os.stat(folder).st_mtime_ns) for folder in folders)):
        yield _folder_of(point), _package(point), _said(point)


@lru_cache(maxsize=1)
def _entry_points(_installed: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Those of installed packages, read again when something was installed: that takes 10 ms of a fit's 100."""
    return entry_points(group=ENTRY_POINTS)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _said(point: EntryPoint) -> str:
    return f"entry point {point.name!r} of the package {_package(point)!r}"


def _folder_of(point: EntryPoint) -> Path:
    """The folder that an entry point gives."""
    try:
        found: Any = point.load()
        given: Any = found() if callable(found) else found
        folder = Path(given)
    # Whatever another package's code may raise; a module that exits must not end the user's program either.
    except (Exception, SystemExit) as error:
        raise PriorError(
            f"the {_said(point)} in {ENTRY_POINTS} cannot be loaded: {type(error).__name__}: "
            f"{' '.join(str(error).split())}; "
            "it must give the folder of its presets; mend or uninstall the package"
        ) from error
    # A relative path would name another folder in every working directory.
    if not folder.is_absolute() or not os.path.isdir(folder):
        raise PriorError(
            f"the {_said(point)} in {ENTRY_POINTS} gives {str(folder)!r}, not the absolute path of a folder; "
            "mend or uninstall the package"
        )
    return folder
