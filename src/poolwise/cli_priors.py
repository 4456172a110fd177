"""The commands ``poolwise priors list | show | check | new``."""

import argparse
import re
import shutil
import textwrap
from pathlib import Path

from poolwise.errors import ArgumentError, PriorError
from poolwise.priors.presets import DEFAULT, FOLDERS_VARIABLE, load_preset, presets

DONE, INVALID = 0, 1
# What each key of a new preset is, written above it.
EXPLAINED = {
    "name": "the same as the file's name",
    "title": "one line",
    "description": "what it says, and where its numbers come from",
    "when": "when to use it, and when not",
    "references": "papers and studies behind the numbers",
    "group_intercept_at": 'group intercepts\' sd and correlations stand at the predictors\' "mean" or at "zero"',
    "[intercept]": "at the mean of the predictors, so it is the mean response",
    "[slope]": "every common effect but the intercept",
    "[group_sd_intercept]": "standard deviation of varying intercepts",
    "[group_sd_slope]": "standard deviation of varying slopes",
    "[group_correlation]": "correlations within a block (x | g)",
    "[residual_sd]": "residual standard deviation sigma",
    "[joint]": "one prior of several parameters, in place of the tables of their roles",
}


def add_priors_commands(commands) -> None:
    """Add ``priors`` and its own commands to the program's."""
    priors = commands.add_parser("priors", help="the catalogue of prior presets, and your own")
    own = priors.add_subparsers(required=True, metavar="COMMAND")
    listed = own.add_parser("list", help="name and title of every preset")
    listed.set_defaults(run=_list)
    show = own.add_parser("show", help="a preset in full")
    show.add_argument("preset", help="name or path")
    show.set_defaults(run=_show)
    check = own.add_parser("check", help="whether preset files are valid")
    check.add_argument("files", nargs="+", help="TOML files")
    check.set_defaults(run=_check)
    new = own.add_parser("new", help="a commented preset to change")
    new.add_argument("name", help="letters, digits and underscores")
    new.add_argument("--like", default=DEFAULT, help=f"preset to start from ({DEFAULT})")
    new.add_argument("--out", default=".", help="folder (the current one)")
    new.set_defaults(run=_new)


def _list(parsed: argparse.Namespace) -> int:
    table = presets()
    width = shutil.get_terminal_size().columns
    longest = max(map(len, table["name"]))
    for row in table.itertuples(index=False):
        print(f"{row.name:<{longest}}  {row.title}")
        print(textwrap.fill(f"when: {row.when}", width, initial_indent="    ", subsequent_indent="    "))
    return DONE


def _show(parsed: argparse.Namespace) -> int:
    preset = load_preset(parsed.preset)
    print(f"{preset.name}: {preset.title}\n\n{preset.description.strip()}\n")
    print(f"when      {preset.when}\nwhen not  {preset.when_not}\nfile      {preset.source}\n")
    print(f"priors (group intercepts at {preset.group_intercept_at})")
    for role, prior in {**preset.roles, **preset.overrides}.items():
        print(f"  {role:<20} {prior}")
    for reference in preset.references:
        print(f"\nsee {reference}", end="")
    print()
    return DONE


def _check(parsed: argparse.Namespace) -> int:
    code = DONE
    known = presets().set_index("name")["source"]
    for file in parsed.files:
        try:
            preset = load_preset(Path(file))
        except PriorError as error:
            print(f"{file}: not valid\n{error}")
            code = INVALID
            continue
        taken = preset.name in known.index and Path(known[preset.name]).resolve() != Path(file).resolve()
        print(f"{file}: valid" + (f"; but the name is taken by {known[preset.name]}, rename yours" if taken else ""))
    return code


def _new(parsed: argparse.Namespace) -> int:
    name, folder = parsed.name, Path(parsed.out)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,60}", name):
        raise ArgumentError(f"a preset's name is made of letters, digits and underscores; got {name!r}")
    if name in set(presets()["name"]):
        raise ArgumentError(f"there is a preset {name!r} already; choose another name")
    if not folder.is_dir():
        raise ArgumentError(f"there is no folder {str(folder)!r}")
    path = folder / f"{name}.toml"
    if path.exists():
        raise ArgumentError(f"{str(path)!r} is there already; it is not overwritten")
    like = load_preset(parsed.like)
    text = Path(like.source).read_text(encoding="utf-8")
    text = re.sub(r'^name = ".*"$', f'name = "{name}"', text, count=1, flags=re.MULTILINE)
    path.write_text("\n".join(_commented(text.splitlines())) + "\n", encoding="utf-8")
    load_preset(path)
    print(f"{path} written, as {like.name!r}. Change it, then: poolwise priors check {path}")
    print(f"Use it by its path, or by its name once {FOLDERS_VARIABLE} names the folder.")
    return DONE


def _commented(lines: list[str]) -> list[str]:
    """The lines with a comment above each key or table that has one."""
    found = []
    for line in lines:
        key = line.strip() if line.startswith("[") else line.split(" = ")[0]
        if key in EXPLAINED:
            found.append(f"# {EXPLAINED[key]}")
        found.append(line)
    return found
