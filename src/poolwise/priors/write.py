"""A preset as the text of a TOML file, every key explained by a comment."""

import json
import textwrap
from typing import Any

from poolwise.priors.distributions import CORRELATION, DISTRIBUTIONS, INTERVAL, JOINT, JOINT_ROLES
from poolwise.priors.presets import PriorPreset
from poolwise.priors.prior import Prior, Scaled
from poolwise.priors.read import ROLES
from poolwise.priors.scale import RULES

WIDTH = 110
HEAD = """\
A preset of priors for poolwise. Change what you need; "poolwise priors check FILE" tells what is wrong with it.
A table holds the prior of one role: a distribution and all of its arguments, under PyMC's names. An argument is a
number, which stands as it is, or { rule = "...", times = ... }, which follows the data: a rule's value times a number.
"""
KEYS = {
    "name": "the same as the file's name, without .toml",
    "title": "one line",
    "description": "what it says, and where its numbers come from",
    "when": "for which data and questions",
    "when_not": "when another preset is the better one",
    "references": "papers and studies behind the numbers",
    "version": "a whole number; raise it whenever a prior changes",
    "group_intercept_at": '[group_sd_intercept] and [group_correlation] stand at the predictors\' "mean", or at "zero"',
    "joint": "one prior of several parameters, in place of the tables of the roles it covers: {covered}",
    "intercept": "the mean response at the mean of the predictors",
    "slope": "every common effect but the intercept",
    "group_sd_intercept": "standard deviation of varying intercepts",
    "group_sd_slope": "standard deviation of varying slopes",
    "group_correlation": "correlations within a block (x | g); eta = 1 is uniform, larger ones draw towards zero",
    "residual_sd": "residual standard deviation sigma",
    "overrides": "one parameter by its name, in place of its role's prior",
    "link": "in place of the role under this link",
    "family": "in place of the role, or a parameter of the family, under this family",
}
# Arguments that are not PyMC's.
ARGUMENTS = {
    "PC": "P(sd > u) = alpha",
    "Decov": "the sds of a block of k effects are sigma tau sqrt(k pi), with tau ~ Gamma(shape, 1 / scale) and "
    "pi ~ Dirichlet(concentration)",
    "ICCBeta": "alpha, beta: of the groups' share of the variance; nu, sigma: of the half-t of the total sd",
    "R2D2M2": "mean_R2, prec_R2: of the Beta on R2; concentration: of the Dirichlet that divides it among the terms",
    "Horseshoe": "df: of the local scales; expected_effects: how many slopes are large; slab_scale, slab_df: of the "
    "half-t that bounds the large ones",
}


def preset_text(preset: PriorPreset, name: str) -> str:
    """The text of a file that holds a preset under another name.

    Parameters
    ----------
    preset : PriorPreset
        Where the priors come from.
    name : str
        The new preset's name.

    Returns
    -------
    str
        TOML with comments; read again it has the same priors.
    """
    texts = {"name": name, "title": preset.title, "description": preset.description.strip()}
    texts |= {"when": preset.when, "when_not": preset.when_not}
    lines = [f"# {line}" for line in HEAD.splitlines()] + [""]
    for key, text in texts.items():
        lines += [f"# {KEYS[key]}", f"{key} = {_text(text)}"]
    lines += [f"# {KEYS['references']}", "references = ["]
    lines += [*(f"  {json.dumps(item, ensure_ascii=False)}," for item in preset.references), "]"]
    lines += [f"# {KEYS['version']}", "version = 1"]
    lines += [f"# {KEYS['group_intercept_at']}", f'group_intercept_at = "{preset.group_intercept_at}"']
    written_joint = False
    for role, prior in preset.roles.items():
        if prior.support != JOINT:
            lines += _table(role, prior, KEYS[role], _others(role))
        elif not written_joint:
            written_joint = True
            lines += _table("joint", prior, KEYS["joint"].format(covered=", ".join(JOINT_ROLES[prior.distribution])))
    for parameter, prior in preset.overrides.items():
        lines += _table(f"overrides.{json.dumps(parameter, ensure_ascii=False)}", prior, KEYS["overrides"])
    for table, entries in preset.extras.items():
        lines += _tables(table, entries, KEYS[table])
    return "\n".join(lines) + "\n"


def _others(role: str) -> str:
    """The distributions that a role's prior is chosen from."""
    if ROLES[role] == CORRELATION:
        return ""
    supports = (ROLES[role], INTERVAL)
    return "any of " + ", ".join(known for known, found in DISTRIBUTIONS.items() if found.support in supports)


def _tables(where: str, entry: Any, comment: str) -> list[str]:
    """Tables of links and families, nested as they were read."""
    if isinstance(entry, Prior):
        return _table(where, entry, comment)
    return [
        line
        for key, value in entry.items()
        for line in _tables(f"{where}.{json.dumps(key, ensure_ascii=False)}", value, comment)
    ]


def _table(header: str, prior: Prior, comment: str, others: str = "") -> list[str]:
    """A table below its comments: what it is about, what it may have, what its arguments and rules mean."""
    rules = dict.fromkeys(value.rule for value in prior.params.values() if isinstance(value, Scaled))
    said = [
        comment,
        others,
        ARGUMENTS.get(prior.distribution, ""),
        *(f"{rule}: {rule_meaning(rule)}" for rule in rules),
    ]
    lines = ["", *(line for text in said for line in _comment(text)), f"[{header}]"]
    lines.append(f'distribution = "{prior.distribution}"')
    return lines + [f"{name} = {_argument(value)}" for name, value in prior.params.items()]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _argument(value: float | Scaled) -> str:
    if not isinstance(value, Scaled):
        return _number(value)
    times = "" if value.times == 1 else f", times = {_number(value.times)}"
    return f'{{ rule = "{value.rule}"{times} }}'


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def rule_meaning(rule: str) -> str:
    """A rule's meaning, the first line of its docstring."""
    meaning = (RULES[rule].__doc__ or rule).strip().splitlines()[0].rstrip(".")
    return meaning[0].lower() + meaning[1:]


def _text(text: str) -> str:
    """A text on one line, or with its own lines between triple quotes."""
    if "\n" not in text and len(text) < WIDTH:
        return json.dumps(text, ensure_ascii=False)
    return '"""\n' + text.replace("\\", "\\\\").replace('"""', '""\\"') + ('\\\n"""' if text.endswith('"') else '"""')
