"""What a saved fit must hold beside digests that fit, which a stranger can forge."""

import json
import math
from typing import Any

import xarray as xr

from poolwise import names
from poolwise.errors import StoreError, shown
from poolwise.result.bayes import BayesFit
from poolwise.spec.parameters import parameters_of

# Far above what any text of a fit has.
LONGEST = 100_000
LABELS = (str, int, float, bool)
LEAST = {"draws": 1, "tune": 0, "chains": 1, "seed": 0}


def refuse_inflated(tree: xr.DataTree, size: int) -> None:
    """Refuse a file whose arrays are larger than itself: poolwise writes them as they are.

    Raises
    ------
    StoreError
        With both sizes.
    """
    needed = sum(variable.nbytes for node in tree.subtree for variable in node.dataset.variables.values())
    if needed > 4 * size + 10_000_000:
        raise StoreError(f"its arrays take {needed / 1e9:.3g} GB, and the file has {size / 1e9:.3g} GB")


def check_recipe(recipe: dict[str, Any], *, rows: bool) -> None:
    """Hold a recipe to the types that ``save_fit`` writes.

    Parameters
    ----------
    recipe : dict
        As read from the file.
    rows : bool
        Whether the fit holds the rows of its table, not their sums.

    Raises
    ------
    StoreError
        Naming the key.
    """
    check_unicode(recipe)
    texts = {"formula": recipe["formula"], "canonical": recipe["canonical"], "form": recipe["form"]}
    if rows or "family" in recipe:
        texts |= {"family": recipe["family"], "link": recipe["link"]}
    if rows:
        further = recipe.get("further", [])
        _holds(isinstance(further, list) and all(map(_text, further)), "further", further)
        _holds(recipe["weights"] is None or _text(recipe["weights"]), "weights", recipe["weights"])
        _check_columns(recipe["columns"])
        _check_covariances(recipe.get("covariances", []))
    for key, value in texts.items():
        _holds(_text(value), key, value)
    _check_settings(recipe["settings"])
    _holds(isinstance(recipe["priors"], list), "priors", recipe["priors"])
    for one in recipe["priors"]:
        _holds(isinstance(one, list) and len(one) == 7 and isinstance(one[3], dict), "priors", one)
        _holds(all(_text(one[k]) for k in (0, 1, 2, 4, 5, 6)), "priors", one)
        _holds(all(type(value) in (int, float) for value in one[3].values()), "priors", one)


def check_unicode(content: Any) -> None:
    """Refuse halves of surrogate pairs, which JSON can hold and no table, page or file can.

    Raises
    ------
    StoreError
        Without the text, which could not be shown.
    """
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise StoreError("it holds a text that is no Unicode") from error


def _check_columns(columns: Any) -> None:
    _holds(isinstance(columns, list) and all(isinstance(note, dict) for note in columns), "columns", columns)
    for note in columns:
        _holds(_text(note["name"]), "columns", note)
        _holds(all(isinstance(note[key], bool) for key in ("ordered", "bool")), "columns", note)
        levels = note["levels"]
        if levels is not None:
            _holds(isinstance(note["categorical"], bool) and _labels(levels), "columns", note)
    called = [note["name"] for note in columns]
    _holds(len(set(called)) == len(called), "columns", called)


def _check_covariances(covariances: Any) -> None:
    _holds(isinstance(covariances, list), "covariances", covariances)
    for one in covariances:
        _holds(isinstance(one, list) and len(one) == 2 and _text(one[0]) and _labels(one[1]), "covariances", one)


def _check_settings(settings: Any) -> None:
    _holds(isinstance(settings, dict), "settings", settings)
    for key, least in LEAST.items():
        _holds(type(settings[key]) is int and least <= settings[key] < 2**64, "settings", settings)
    cores, accept = settings["cores"], settings["target_accept"]
    _holds(cores is None or (type(cores) is int and cores >= 1), "settings", settings)
    _holds(accept is None or (type(accept) in (int, float) and 0 < accept < 1), "settings", settings)
    _holds(isinstance(settings["progress"], bool), "settings", settings)


def check_draws(fit: BayesFit) -> None:
    """Hold the draws to the shapes that the design of the fit gives them, and its priors to its parameters.

    Raises
    ------
    StoreError
        Naming what does not fit.
    """
    sizes = dict(fit.posterior.sizes)
    asked = (fit.settings.chains, fit.settings.draws)
    if (sizes[names.CHAIN], sizes[names.DRAW]) != asked:
        raise StoreError(f"its settings say {asked[0]} chains of {asked[1]} draws, and its draws are others")
    D = math.prod(asked)
    for own in (*fit.design.linear, *fit.design.further):
        _shape("common effects", fit.coefficients_of(own).shape, (D, len(own.coefficient_names)))
        for factor in own.factors:
            _shape(factor.name, fit.effects(factor).shape, (D, factor.J, len(factor.effects)))
        for smooth in own.smooths:
            _shape(smooth.name, fit._draws(smooth.called("weights")).shape, (D, *smooth.shape))
    for auxiliary in fit.design.constant_auxiliaries:
        _shape(auxiliary.name, fit._draws(auxiliary.name).shape[:1], (D,))
    for name, variable in fit.posterior.data_vars.items():
        if variable.dtype.kind not in "fiub":
            raise StoreError(f"its draws of {shown(name)} are no numbers")
    expected = {parameter.name for parameter in parameters_of(fit.design)}
    unknown = sorted(prior.parameter for prior in fit.resolved_priors if prior.parameter not in expected)
    if unknown:
        raise StoreError(f"it has a prior of {shown(unknown[0])}, which is no parameter of it")


def _shape(what: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise StoreError(f"its draws of {what} have the shape {found}, and its formula needs {expected}")


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < LONGEST


def _labels(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(label) in LABELS for label in value)


def _holds(true: bool, key: str, value: Any) -> None:
    if not true:
        raise StoreError(f"its {key} cannot be {shown(value)}")
