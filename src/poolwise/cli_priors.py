"""The commands ``poolwise priors list | show | check | new``."""

import argparse
import re
import shutil
import textwrap
from pathlib import Path

from poolwise.errors import ArgumentError, PriorError
from poolwise.priors.distributions import JOINT
from poolwise.priors.presets import DEFAULT, FOLDERS_VARIABLE, PresetFile, PriorPreset, catalogue_files, load_preset
from poolwise.priors.prior import Prior, Scaled
from poolwise.priors.read import NAME
from poolwise.priors.write import preset_text, rule_meaning

DONE, INVALID = 0, 1
# The last distribution in the text: a parameter's name may have parentheses and equal signs of its own.
ONE_PRIOR = re.compile(r"\s*(?P<name>.*\S)\s*=\s*(?P<prior>\w+\s*\([^()]*\)\s*)")
FORM = "'x = Normal(mu=0, sigma=1)'"
# Narrower than this a table is no help, whatever the terminal says.
NARROWEST = 40


def add_priors_commands(commands) -> None:
    """Add ``priors`` and its own commands to the program's."""
    priors = commands.add_parser("priors", help="the catalogue of prior presets, and your own")
    own = priors.add_subparsers(required=True, metavar="COMMAND")
    listed = own.add_parser("list", help="every preset that can be named, with its title and whose it is")
    listed.set_defaults(run=_list)
    show = own.add_parser("show", help="a preset in full")
    show.add_argument("preset", help="name or path")
    show.set_defaults(run=_show)
    check = own.add_parser("check", help="whether preset files are valid, and if not, every problem")
    check.add_argument("files", nargs="+", metavar="FILE", help="TOML files")
    check.set_defaults(run=_check)
    new = own.add_parser("new", help="write a commented preset to change")
    new.add_argument("name", help="letters, digits and underscores")
    new.add_argument("--from", "--like", dest="like", metavar="PRESET", default=DEFAULT, help=f"start from ({DEFAULT})")
    new.add_argument("--out", metavar="FOLDER", default=".", help="where to (the current folder)")
    new.set_defaults(run=_new)


def preset_with(name: str, given: list[str] | None) -> tuple[PriorPreset, list[str]]:
    """A preset with priors of single parameters in place of its own, and the names of these.

    Parameters
    ----------
    name : str
        Name or path of the preset.
    given : list of str or None
        Each ``NAME = PRIOR``, the prior as tables show it: ``x = Normal(mu=0, sigma=2.5 x sd_y)``; a name with
        spaces as it is or in back-quotes.

    Returns
    -------
    tuple of PriorPreset and list of str

    Raises
    ------
    PriorError
        For what is not of this form, is given twice, or is no prior.

    Examples
    --------
    >>> preset_with("pc", ["x = Normal(mu=0, sigma=1)"])[0].overrides
    {'x': Prior("Normal", mu=0, sigma=1)}
    """
    priors: dict[str, Prior] = {}
    for text in given or ():
        found = ONE_PRIOR.fullmatch(text)
        if not found:
            raise PriorError(
                f"--prior {text!r} is not of the form 'NAME = DISTRIBUTION(argument=number, ...)', such as {FORM}"
            )
        # As in a formula; the names of parameters have none.
        parameter = found["name"].replace("`", "")
        if parameter in priors:
            raise PriorError(f"--prior is given twice for {parameter!r}")
        priors[parameter] = Prior.coerce(found["prior"])
    return load_preset(name).override(priors), list(priors)


def _width() -> int:
    return max(NARROWEST, shutil.get_terminal_size().columns)


def _list(parsed: argparse.Namespace) -> int:
    """One line a preset; an invalid file is a line too, so that it does not hide the others."""
    rows = [("name", "title", "from")]
    for name, found in catalogue_files().items():
        try:
            rows.append((name, load_preset(found.path).title, found.kind))
        except PriorError:
            rows.append((name, f"not valid: poolwise priors check {found.path}", found.kind))
    for line in _columns(rows, _width()):
        print(line)
    return DONE


def _columns(rows: list[tuple[str, str, str]], width: int) -> list[str]:
    """Names whole; titles and origins share what is left, cut with dots where they do not fit."""
    longest = [max(len(row[column]) for row in rows) for column in range(3)]
    left = width - longest[0] - 4
    third = min(longest[2], max(15, left // 3))
    second = max(8, min(longest[1], left - third))
    return [
        f"{name:<{longest[0]}}  {_cut(title, second):<{second}}  {_cut(kind, third)}".rstrip()
        for name, title, kind in rows
    ]


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


def _show(parsed: argparse.Namespace) -> int:
    preset = load_preset(parsed.preset)
    width = _width()
    print(f"{preset.name}: {preset.title}\n\n{textwrap.fill(' '.join(preset.description.split()), width)}\n")
    for label, text in (("when", preset.when), ("when not", preset.when_not), ("file", preset.source)):
        print(_hanging(label, text, width, 10))
    print(f"\nPriors (the sd of group intercepts and correlations stand at the predictors' {_at(preset)})")
    shown = _rows(preset)
    longest = max(len(name) for name, _ in shown)
    for name, prior in shown:
        print(_hanging(f"  {name}", prior, width, longest + 4))
    rules = sorted({rule for prior in _priors(preset) for rule in _rules(prior)})
    if rules:
        print("\nRules")
        for rule in rules:
            print(_hanging(f"  {rule}", rule_meaning(rule), width, max(map(len, rules)) + 4))
    if preset.references:
        print("\nReferences")
        for reference in preset.references:
            print(_hanging("  -", reference, width, 4))
    return DONE


def _at(preset: PriorPreset) -> str:
    return "means" if preset.group_intercept_at == "mean" else "zero"


def _priors(preset: PriorPreset) -> list[Prior]:
    return [*preset.roles.values(), *preset.overrides.values()]


def _rows(preset: PriorPreset) -> list[tuple[str, str]]:
    """Roles, then overrides, with their priors in words; a joint prior is said once and referred to afterwards."""
    rows: list[tuple[str, str]] = []
    said = False
    for role, prior in preset.roles.items():
        if prior.support == JOINT and said:
            rows.append((role, f"the same {prior.distribution}, jointly"))
            continue
        said |= prior.support == JOINT
        rows.append((role, str(prior)))
    return rows + [(f"overrides.{name}", str(prior)) for name, prior in preset.overrides.items()]


def _rules(prior: Prior) -> list[str]:
    return [value.rule for value in prior.params.values() if isinstance(value, Scaled)]


def _hanging(label: str, text: str, width: int, indent: int) -> str:
    """A label and its text, whose further lines stand below its first."""
    start = f"{label:<{indent}}"
    wrap = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * indent, **wrap)  # type: ignore[arg-type]


def _check(parsed: argparse.Namespace) -> int:
    """A line a file, and the problems of those that are not valid."""
    code = DONE
    known: dict[str, PresetFile] = {}
    trouble = None
    try:
        known = catalogue_files()
    except PriorError as error:
        # Told last: a catalogue that cannot be listed says nothing about the files.
        trouble = error
    for file in map(Path, parsed.files):
        try:
            load_preset(file)
        except PriorError as error:
            first, *problems = str(error).split("\n- ")
            print("\n  - ".join([f"{file}: not valid", *problems]) + ("" if problems else f"; {first}"))
            code = INVALID
            continue
        taken = known.get(file.stem)
        if taken and taken.path.resolve() != file.resolve():
            print(f"{file}: valid; but its name is taken by {taken.path} ({taken.origin}): use it by its path only")
        else:
            print(f"{file}: valid")
    if trouble:
        raise trouble
    return code


def _new(parsed: argparse.Namespace) -> int:
    name, folder = parsed.name, Path(parsed.out)
    if not NAME.fullmatch(name):
        raise ArgumentError(
            f"a preset's name is a letter, then letters, digits and underscores, at most 61; got {name!r}; "
            "name the folder with --out"
        )
    taken = catalogue_files().get(name)
    if taken:
        raise ArgumentError(f"there is a preset {name!r} already, {taken.path} ({taken.origin}); choose another name")
    if not folder.is_dir():
        raise ArgumentError(f"there is no folder {str(folder)!r}")
    path = folder / f"{name}.toml"
    text = preset_text(load_preset(parsed.like), name)
    try:
        # Exclusive: a file, or a link to one, that appears meanwhile is not overwritten either.
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise ArgumentError(f"{str(path)!r} is there already; it is not overwritten") from error
    print(f"Written: {path}, with the priors of {parsed.like}. Next")
    print("  1. change it in an editor; every key is explained there")
    print(f"  2. poolwise priors check {path}")
    print(f'  3. use it by its path, priors="{path}", or put its folder into {FOLDERS_VARIABLE} and use it by its name')
    return DONE
