"""A prior as text, ``Normal(mu=0, sigma=2.5 x sd_y)``, as tables show it: a closed grammar, nothing is evaluated."""

import re
from typing import Any

from poolwise.errors import PriorError, shown
from poolwise.priors.distributions import DISTRIBUTIONS

FORM = re.compile(r"\s*(?P<distribution>\w+)\s*\((?P<arguments>[^()]*)\)\s*")
RULE = re.compile(r"(?:(?P<times>\S+)\s+x\s+)?(?P<rule>[A-Za-z]\w*)")
EXAMPLE = "'Normal(mu=0, sigma=1)'"
RULE_EXAMPLE = "a rule is written 'sigma=2.5 x sd_y'"


def read_prior(text: str) -> tuple[str, dict[str, Any]]:
    """The distribution and the arguments that a text says; what they may be is checked by :class:`poolwise.Prior`.

    Parameters
    ----------
    text : str
        A distribution and its arguments, by name or in their order: numbers, rules, and factors times rules.

    Returns
    -------
    tuple of str and dict

    Raises
    ------
    PriorError
        For what is not of this form.

    Examples
    --------
    >>> read_prior("Normal(0, sigma = 2.5 x sd_y)")
    ('Normal', {'mu': 0.0, 'sigma': {'rule': 'sd_y', 'times': 2.5}})
    """
    found = FORM.fullmatch(text)
    if not found:
        raise PriorError(f"{shown(text)} is not of the form DISTRIBUTION(argument=number, ...), such as {EXAMPLE}")
    distribution = found["distribution"]
    parts = found["arguments"].split(",") if found["arguments"].strip() else []
    known = list(DISTRIBUTIONS[distribution].arguments) if distribution in DISTRIBUTIONS else []
    arguments: dict[str, Any] = {}
    for place, part in enumerate(parts):
        name, equals, value = map(str.strip, part.rpartition("="))
        if not equals:
            if len(arguments) < place or any("=" in earlier for earlier in parts[:place]):
                raise PriorError(f"{shown(text)}: {part.strip()!r} has no name and follows one that has; name it too")
            if known and place >= len(known):
                raise PriorError(f"{shown(text)}: {distribution} takes {', '.join(known) or 'no arguments'}")
            name = known[place] if known else f"argument {place + 1}"
        if name in arguments:
            raise PriorError(f"{shown(text)} gives {name} twice")
        arguments[name] = _value(name, value, text)
    return distribution, arguments


def _value(name: str, value: str, text: str) -> Any:
    try:
        return float(value)
    except ValueError:
        pass
    rule = RULE.fullmatch(value)
    try:
        if rule:
            return {"rule": rule["rule"], "times": float(rule["times"] or 1)}
    except ValueError:
        pass
    raise PriorError(f"{shown(text)}: {name} is {value!r}, neither a number nor a rule; {RULE_EXAMPLE}")
