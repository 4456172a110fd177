"""Reading a preset file: TOML in, checked parts out; every problem of the file in one message."""

import codecs
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolwise.errors import PriorError, near_names, shown
from poolwise.priors.distributions import (
    CORRELATION,
    DISTRIBUTIONS,
    GROUP_SDS,
    JOINT,
    JOINT_ROLES,
    NO_GROUP_SD,
    NO_GROUP_SD_SAID,
    POSITIVE,
    REAL,
    UNIT,
)
from poolwise.priors.prior import Prior, Scaled, checked_value

# What each role's prior must allow.
ROLES = {
    "intercept": REAL,
    "slope": REAL,
    "group_sd_intercept": POSITIVE,
    "group_sd_slope": POSITIVE,
    "group_correlation": CORRELATION,
    "residual_sd": POSITIVE,
}
# Parameters of families, by name; the others are positive.
FAMILY_SUPPORT = {"psi": UNIT, "threshold": REAL}
TEXTS = ("name", "title", "description", "when", "when_not")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")
LARGEST = 64_000
# A dotted key of n parts takes the TOML parser n^2 steps, and a key stands on one line.
LONGEST_LINE = 2_000
MOST_PROBLEMS = 20
# What a terminal would obey instead of print; a text may have line breaks and tabs.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Rules that look at a predictor, and the only roles whose parameters have one.
RULE_ROLES = {
    "sd_y_over_sd_x": ("slope",),
    "sd_y_over_sd_x_sample": ("slope",),
    "sd_y_over_sd_x_population": ("slope", "group_sd_slope"),
    "bambi_probability_slope_sd": ("slope",),
    "sd_y_over_sd_x_within": ("group_sd_slope",),
    "sd_x_within_over_sd_y": ("group_sd_slope",),
}


def read_preset(path: Path) -> dict[str, Any]:
    """Parts of a preset file, checked.

    Parameters
    ----------
    path : Path
        A TOML file.

    Returns
    -------
    dict
        The fields of a :class:`poolwise.priors.presets.PriorPreset`.

    Raises
    ------
    PriorError
        Names the file and lists every problem: table, key, what was found, what is allowed.
    """
    content = _load(path)
    problems: list[str] = []
    allowed = [*TEXTS, "references", "version", "group_intercept_at", *ROLES, "joint", "overrides", "link", "family"]
    problems += [f"unknown key {shown(key)}; {near_names(key, allowed, 20)}" for key in content if key not in allowed]
    fields: dict[str, Any] = {"source": str(path)}
    for key in TEXTS:
        value = content.get(key)
        if not isinstance(value, str) or not value.strip():
            problems.append(f"{key} must be a text; found {shown(value)}")
        elif CONTROL.search(value):
            problems.append(f"{key} must be a text without control characters; found {shown(value)}")
        fields[key] = value
    if isinstance(fields["name"], str) and fields["name"] != path.stem:
        problems.append(f"name is {shown(fields['name'])}, the file is called {path.stem!r}; they must agree")
    elif isinstance(fields["name"], str) and not NAME.fullmatch(path.stem):
        problems.append(f"name must be a letter, then letters, digits and underscores, at most 61; found {path.stem!r}")
    version = content.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        problems.append(f"version must be a whole number from 1; found {shown(version)}")
    fields["group_intercept_at"] = content.get("group_intercept_at", "mean")
    if fields["group_intercept_at"] not in ("mean", "zero"):
        problems.append(f"group_intercept_at must be 'mean' or 'zero'; found {shown(fields['group_intercept_at'])}")
    references = content.get("references", [])
    if not isinstance(references, list) or not all(isinstance(item, str) for item in references):
        problems.append(f"references must be a list of texts; found {shown(references)}")
    elif CONTROL.search("".join(references)):
        problems.append(f"references must be texts without control characters; found {shown(references)}")
    else:
        fields["references"] = tuple(references)
    joint = _prior("[joint]", content["joint"], JOINT, problems) if "joint" in content else None
    covered = JOINT_ROLES[joint.distribution] if joint else ()
    problems += [
        f"[{role}] is covered by [joint], {joint.distribution}; leave one of the two out"  # type: ignore[union-attr]
        for role in covered
        if role in content
    ]
    fields["roles"] = {
        role: joint if role in covered else _prior(f"[{role}]", content.get(role), support, problems)
        for role, support in ROLES.items()
    }
    problems += [
        f"[{role}] {prior.distribution} {NO_GROUP_SD_SAID}"
        for role in GROUP_SDS
        if (prior := fields["roles"][role]) and prior.distribution in NO_GROUP_SD
    ]
    overrides = content.get("overrides", {})
    if not isinstance(overrides, Mapping):
        problems.append(f"overrides must be tables by parameter; found {shown(overrides)}")
        overrides = {}
    problems += [
        f"[{role}] {name}: the rule {value.rule!r} looks at a predictor; it is for "
        + " and ".join(f"[{own}]" for own in RULE_ROLES[value.rule])
        for role, prior in fields["roles"].items()
        for name, value in (prior.params.items() if prior else ())
        if isinstance(value, Scaled) and role not in RULE_ROLES.get(value.rule, (role,))
    ]
    fields["overrides"] = {
        name: _prior(f"[overrides.{_key(name)}]", entry, support_of(name), problems)
        for name, entry in overrides.items()
    }
    if isinstance(content.get("link"), Mapping):
        problems += [
            f"[link.{_key(link)}.{_key(role)}] is not a role; {near_names(role, ROLES)}"
            for link, tables in content["link"].items()
            for role in (tables if isinstance(tables, Mapping) else ())
            if role not in ROLES
        ]
    fields["extras"] = {
        table: _nested(table, content[table], problems) for table in ("link", "family") if table in content
    }
    if problems:
        more = [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        listed = [*problems[:MOST_PROBLEMS], *more]
        raise PriorError("\n- ".join([f"the preset {str(path)!r} is not valid:", *listed]))
    return fields


def support_of(parameter: str) -> str:
    """Support of a parameter by its name: ``..._sigma`` and ``sigma`` are positive, ``corr|g`` are correlations."""
    if parameter.startswith("corr|") or "_corr|" in parameter:
        return CORRELATION
    if parameter == "sigma" or ("|" in parameter and parameter.endswith("_sigma")):
        return POSITIVE
    return REAL


def _key(name: str) -> str:
    """A key as it stands in the header of a table."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else f'"{shown(name)[1:-1]}"'


def _load(path: Path) -> dict[str, Any]:
    try:
        # Not Path.is_file, which raises where a name is too long.
        if not os.path.isfile(path):
            raise PriorError(f"there is no preset file {str(path)!r}")
        if (size := os.path.getsize(path)) > LARGEST:
            raise PriorError(f"the preset {str(path)!r} has {size} bytes; a preset has at most {LARGEST}")
        content = path.read_bytes()
    except OSError as error:
        raise PriorError(f"the preset {str(path)!r} cannot be read: {error.strerror}") from error
    if content.startswith(codecs.BOM_UTF8):
        raise PriorError(f"the preset {str(path)!r} begins with a byte-order mark; save it as UTF-8 without one")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PriorError(f"the preset {str(path)!r} is not UTF-8 text: {error}; save it as UTF-8") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_LINE:
            raise PriorError(
                f"line {number} of the preset {str(path)!r} has {len(line)} characters; the most is {LONGEST_LINE}"
            )
    try:
        return tomllib.loads(text)
    # A ValueError that is not a TOMLDecodeError: an impossible date, or more digits than Python is set to read.
    except (ValueError, RecursionError) as error:
        raise PriorError(f"the preset {str(path)!r} is not valid TOML: {error or 'nested too deeply'}") from error


def _prior(where: str, entry: Any, support: str, problems: list[str]) -> Prior | None:
    """The prior of one table; what is wrong with it is added to the problems."""
    if not isinstance(entry, Mapping):
        found = "nothing" if entry is None else shown(entry)
        problems.append(f"{where} must be a table with a distribution; found {found}")
        return None
    params = {str(key): value for key, value in entry.items() if key != "distribution"}
    try:
        prior = Prior(entry.get("distribution"), **params)  # type: ignore[arg-type]
    except PriorError as error:
        wrong = [str(error), *_wrong_arguments(entry.get("distribution"), params)]
        problems += [f"{where} {problem}" for problem in dict.fromkeys(wrong)]
        return None
    if not prior.fits(support):
        problems.append(f"{where} {prior.distribution} has {prior.support} support; a {support} one is needed")
        return None
    return prior


def _wrong_arguments(distribution: Any, params: Mapping[str, Any]) -> list[str]:
    """What is wrong with each argument of a prior, also where its distribution is unknown."""
    listed = isinstance(distribution, str) and distribution in DISTRIBUTIONS
    known = DISTRIBUTIONS[distribution].arguments if listed else {}
    found = []
    for name, value in params.items():
        try:
            checked_value(shown(distribution).strip("'"), name, value, known.get(name, REAL))
        except PriorError as error:
            found.append(str(error))
    return found


def _nested(where: str, entry: Any, problems: list[str], depth: int = 2) -> Any:
    """Tables for links and families, kept for models that have them; every leaf, at this depth, is a prior."""
    if depth == 0 or (isinstance(entry, Mapping) and "distribution" in entry):
        role = where.rsplit(".", 1)[-1]
        return _prior(f"[{where}]", entry, ROLES.get(role, FAMILY_SUPPORT.get(role, POSITIVE)), problems)
    if isinstance(entry, Mapping):
        return {key: _nested(f"{where}.{_key(key)}", value, problems, depth - 1) for key, value in entry.items()}
    problems.append(f"[{where}] must be a table; found {shown(entry)}")
    return None
