"""A prior: a distribution of the allow-list and its parameters, as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from poolwise.errors import PriorError, near_names, shown
from poolwise.priors.distributions import CORRELATION, DISTRIBUTIONS, INTERVAL, JOINT, POSITIVE, REAL, UNIT
from poolwise.priors.scale import RULES
from poolwise.priors.text import read_prior


@dataclass(frozen=True)
class Scaled:
    """A number that follows the data: a named rule times a factor.

    Parameters
    ----------
    rule : str
        Name of a function in :mod:`poolwise.priors.scale`.
    times : float, default 1
        What the rule's value is multiplied by.
    """

    rule: str
    times: float = 1.0

    def __str__(self) -> str:
        return self.rule if self.times == 1 else f"{self.times:g} x {self.rule}"


class Prior:
    """A distribution by name, with PyMC's argument names.

    Parameters
    ----------
    distribution : str
        Of the allow-list, for instance ``"Normal"``; ``"LKJ"`` for correlations.
    **params : float or dict or Scaled
        Every argument of the distribution. A number stands as it is; ``{"rule": "sd_y", "times": 2.5}`` follows the
        data.
        ``Exponential`` also takes ``scale`` in place of ``lam``.

    Raises
    ------
    PriorError
        For an unknown distribution, argument or rule, a missing argument, NaN, or a value outside its domain.

    Examples
    --------
    >>> Prior("Normal", mu=0, sigma=2.5)
    Prior("Normal", mu=0, sigma=2.5)
    >>> Prior("HalfNormal", sigma={"rule": "sd_y"}).params["sigma"]
    Scaled(rule='sd_y', times=1.0)
    """

    __slots__ = ("distribution", "params")
    distribution: str
    params: Mapping[str, Any]

    def __init__(self, distribution: str, /, *unnamed: Any, **params: Any):
        if not isinstance(distribution, str) or distribution not in DISTRIBUTIONS:
            raise PriorError(
                f"unknown distribution {shown(distribution)}; {near_names(shown(distribution), DISTRIBUTIONS, 30)}"
            )
        known = DISTRIBUTIONS[distribution].arguments
        if unnamed:
            raise PriorError(
                f"{distribution} takes its arguments by name: "
                f'Prior("{distribution}", {", ".join(f"{name}=..." for name in known)})'
            )
        if distribution == "Exponential" and "scale" in params and "lam" not in params:
            params = {"lam": _inverse(params.pop("scale")), **params}
        for name in params:
            if name not in known:
                raise PriorError(f"{distribution} has no argument {shown(name)}; {near_names(name, known)}")
        missing = [name for name in known if name not in params]
        if missing:
            raise PriorError(
                f"{distribution} needs {', '.join(known) or 'no arguments'}; missing: {', '.join(missing)}"
            )
        checked: dict[str, Any] = {name: checked_value(distribution, name, params[name], known[name]) for name in known}
        if distribution == "Uniform" and _numbers(checked) and not checked["lower"] < checked["upper"]:
            raise PriorError(f"Uniform needs lower < upper; got lower={checked['lower']}, upper={checked['upper']}")
        object.__setattr__(self, "distribution", distribution)
        object.__setattr__(self, "params", MappingProxyType(checked))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a Prior does not change; make a new one")

    def __reduce__(self):
        # A mapping proxy can be neither pickled nor deep-copied, and the attributes cannot be set from outside.
        return _rebuilt, (self.distribution, dict(self.params))

    @classmethod
    def coerce(cls, value: Any) -> "Prior":
        """A Prior from a Prior, a text, from bambi.Prior, or from a distribution of PreliZ, by numeric arguments.

        :meta private:
        """
        if isinstance(value, Prior):
            return value
        if isinstance(value, str):
            distribution, params = read_prior(value)
            return cls(distribution, **params)
        if type(value).__module__.split(".")[0] == "preliz":
            return _of_preliz(value)
        if hasattr(value, "name") and isinstance(getattr(value, "args", None), Mapping):
            return cls(value.name, **{str(name): _scalar(argument) for name, argument in value.args.items()})
        raise PriorError(
            "a prior must be a pw.Prior, a text such as 'Normal(mu=0, sigma=1)', a bambi.Prior or a distribution of "
            f'PreliZ; got {shown(value)} ({type(value).__name__}). For instance pw.Prior("Normal", mu=0, sigma=1)'
        )

    def to_preliz(self) -> Any:
        """The distribution of PreliZ with these numbers, to plot it or to begin an elicitation with it.

        Its way back is :class:`Prior` wherever a prior is taken: ``priors={"x": preliz.Normal(0, 1)}``.

        Returns
        -------
        preliz distribution

        Raises
        ------
        PriorError
            If PreliZ has no such distribution, or a number follows the data: ask ``model.priors`` for it first.
        ModuleNotFoundError
            Without PreliZ.

        Examples
        --------
        >>> Prior("HalfNormal", sigma={"rule": "sd_y"}).to_preliz()
        Traceback (most recent call last):
            ...
        poolwise.errors.PriorError: HalfNormal(sigma=sd_y) follows the data; take its numbers from the priors of a model
        """
        if not _numbers(self.params):
            raise PriorError(f"{self} follows the data; take its numbers from the priors of a model")
        import preliz

        made = getattr(preliz, self.distribution, None)
        if made is None:
            raise PriorError(f"PreliZ has no distribution {self.distribution!r}")
        return made(**self.params)

    @property
    def support(self) -> str:
        """The values it allows: real, positive, unit, interval, correlation or joint."""
        return DISTRIBUTIONS[self.distribution].support

    def fits(self, support: str) -> bool:
        """Whether it can be the prior of a parameter with this support.

        :meta private:
        """
        if support == CORRELATION:
            return self.support == CORRELATION
        if support == POSITIVE:
            lower = self.params.get("lower")
            return self.support == POSITIVE or (self.support == INTERVAL and isinstance(lower, float) and lower >= 0)
        if support == UNIT:
            upper = self.params.get("upper")
            within = isinstance(upper, float) and upper <= 1 and self.fits(POSITIVE)
            return self.support == UNIT or (self.support == INTERVAL and within)
        if support == JOINT:
            return self.support == JOINT
        return self.support in (REAL, INTERVAL, POSITIVE)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prior):
            return NotImplemented
        return self.distribution == other.distribution and dict(self.params) == dict(other.params)

    def __hash__(self) -> int:
        return hash((self.distribution, tuple(self.params.items())))

    def __repr__(self) -> str:
        arguments = "".join(
            f", {name}={value:.6g}" if isinstance(value, float) else f", {name}={value!s}"
            for name, value in self.params.items()
        )
        return f'Prior("{self.distribution}"{arguments})'

    def __str__(self) -> str:
        arguments = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!s}"
            for name, value in self.params.items()
        )
        return f"{self.distribution}({arguments})"


def _numbers(params: Mapping[str, Any]) -> bool:
    return all(isinstance(value, float) for value in params.values())


def _of_preliz(value: Any) -> Prior:
    """By the arguments that poolwise knows, whichever it was made with: ``Gamma(mu=, sigma=)`` has alpha and beta."""
    name = type(value).__name__
    arguments = DISTRIBUTIONS[name].arguments if name in DISTRIBUTIONS else {}
    numbers = {argument: getattr(value, argument, None) for argument in arguments}
    unset = [argument for argument, number in numbers.items() if number is None]
    if unset:
        raise PriorError(f"the distribution {name} of PreliZ has no number for {', '.join(unset)}; fit or set it first")
    return Prior(name, **{argument: _scalar(number) for argument, number in numbers.items()})


def _rebuilt(distribution: str, params: dict[str, Any]) -> Prior:
    return Prior(distribution, **params)


def _inverse(scale: Any) -> Any:
    number = _number("Exponential: scale", _scalar(scale))
    if not number > 0:
        raise PriorError(f"Exponential: scale must be a positive number; got {number:g}")
    return 1.0 / number


def _scalar(argument: Any) -> Any:
    """A plain number from what Bambi keeps as a zero-dimensional or one-element array."""
    if hasattr(argument, "item") and getattr(argument, "size", 0) == 1:
        return argument.item()
    return argument


def checked_value(distribution: str, name: str, value: Any, domain: str) -> float | Scaled:
    """The number or rule of one argument, held to its domain; what is wrong with it is a PriorError."""
    where = f"{distribution}: {name}"
    if isinstance(value, Mapping):
        unknown = set(value) - {"rule", "times"}
        if unknown or "rule" not in value:
            raise PriorError(f"{where} as a table needs 'rule' and optionally 'times'; got {shown(dict(value))}")
        value = Scaled(value["rule"], value.get("times", 1.0))
    if isinstance(value, Scaled):
        if not isinstance(value.rule, str) or value.rule not in RULES:
            raise PriorError(f"{where}: unknown rule {shown(value.rule)}; {near_names(shown(value.rule), RULES, 20)}")
        times = _number(f"{where}, times", value.times)
        if domain == "positive" and not times > 0:
            raise PriorError(f"{where}: times must be positive; got {times:g}")
        return Scaled(value.rule, times)
    number = _number(where, _scalar(value))
    if domain == "positive" and not number > 0:
        raise PriorError(f"{where} must be positive; got {number:g}")
    if domain == "share" and not 0 < number < 1:
        raise PriorError(f"{where} must lie between 0 and 1; got {number:g}")
    return number


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PriorError(f"{where} must be a number; got {shown(value)} ({type(value).__name__})")
    try:
        number = float(value)
    except OverflowError:
        raise PriorError(f"{where} must be finite; got an integer beyond 1e308") from None
    if not math.isfinite(number):
        raise PriorError(f"{where} must be finite; got {value!r}")
    return number
