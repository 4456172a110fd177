"""Smooth functions: basis and spectral density are PyMC's, densities Bambi's; what cannot be is refused in words."""

from functools import partial

import arviz as az
import bambi
import numpy as np
import pandas as pd
import pymc as pm
import pytest

import poolwise as pw
from poolwise.compile.smooths import spectral_density
from poolwise.errors import DataError, FitError, FormulaError
from poolwise.spec.formula import parse_formula
from poolwise.spec.smooth import KERNELS, make_smooth

# PyMC's spectral densities have pi in single precision, right to 3e-8.
RTOL = 1e-7


def table(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x, g = np.linspace(1, 9, n), np.arange(n) % 3
    # Each level of k reaches from end to end, so that Bambi's box, its own by level, is ours.
    k = np.where(np.isin(np.arange(n), (0, n - 1)), "a", np.where(np.arange(n) % 2, "a", "b"))
    y = 10 + 2 * np.sin(x) + rng.normal(size=3)[g] + rng.normal(0, 0.5, n)
    return pd.DataFrame({"y": y, "x": x, "z": rng.uniform(-1, 1, n), "g": g.astype(str), "k": k, "one": 1.0, "w": 1.5})


def learned(term: str, data: pd.DataFrame | None = None):
    return make_smooth(parse_formula(f"y ~ {term}").smooths[0], table() if data is None else data)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("columns", [("x",), ("x", "z")])
def test_basis_and_spectral_density_are_pymcs(kernel, columns):
    data, d = table(), len(columns)
    smooth = learned(f'hsgp({", ".join(columns)}, m=5, L=7, cov="{kernel}", scale=False)', data)
    length = np.array([1.3, 0.8])[:d]
    covariance = 1.7**2 * getattr(pm.gp.cov, kernel)(d, ls=length)
    phi, root = pm.gp.HSGP(m=[5] * d, L=[7.0] * d, cov_func=covariance).prior_linearized(data[list(columns)].to_numpy())
    own = np.sqrt(spectral_density(kernel, smooth.frequencies, 1.7, length).eval())
    # PyMC runs through the functions of two predictors in another order: their covariance does not.
    np.testing.assert_allclose(
        (smooth.basis * own) @ (smooth.basis * own).T, (phi * root).eval() @ (phi * root).eval().T, rtol=RTOL, atol=1e-9
    )
    if d == 1:
        np.testing.assert_allclose(smooth.basis, phi.eval(), rtol=RTOL, atol=1e-12)
        np.testing.assert_allclose(own, root.eval(), rtol=RTOL)


def test_the_units_of_a_predictor_do_not_matter():
    data = table()
    one, other = (
        learned("hsgp(x, m=6, c=1.5)", data),
        learned("hsgp(x, m=6, c=1.5)", data.assign(x=5000 + 1000 * data.x)),
    )
    np.testing.assert_allclose(one.basis, other.basis, atol=1e-12)
    np.testing.assert_allclose(one.frequencies * one.unit, other.frequencies * other.unit, rtol=1e-12)


@pytest.mark.parametrize(
    "term",
    [
        "hsgp(x, m=6, L=6, scale=False)",
        'hsgp(x, m=6, L=6, scale=False, cov="Matern32", drop_first=True)',
        "hsgp(x, m=5, L=6, by=k, scale=False)",
        "hsgp(x, m=5, L=6, by=k, scale=False, share_cov=False)",
    ],
)
@pytest.mark.filterwarnings("ignore:The drop_first argument")
@pytest.mark.filterwarnings("ignore:For backward compatibility, 'str' dtypes")
def test_density_is_bambis(term):
    data, sigma = table(), {"sigma": pw.Prior("HalfNormal", sigma=2.0)}
    drop = "drop_first" in term
    if "by" in term:
        # Bambi centres each level at its own mean before the box is laid around its middle: the rows are made to agree.
        data = pd.concat([data.assign(k="a"), data.assign(k="b", y=data.y + 1)], ignore_index=True)
    own = {f"{term}_sigma": pw.Prior("Exponential", lam=1.0), f"{term}_ell": pw.Prior("InverseGamma", alpha=3, beta=1)}
    model = pw.Model(f"y ~ 0 + {term}", data, priors={**sigma, **own})
    kernel = {"sigma": bambi.Prior("Exponential", lam=1.0), "ell": bambi.Prior("InverseGamma", alpha=3, beta=1)}
    theirs = bambi.Model(f"y ~ 0 + {term}", data, priors={"sigma": bambi.Prior("HalfNormal", sigma=2.0), term: kernel})
    theirs.build()
    levels = ["a", "b"] if "by" in term else []
    rng, M = np.random.default_rng(1), (5 if drop else 6) if not levels else 5
    ours_logp = model.pymc.compile_logp(mode="FAST_COMPILE")
    theirs_logp = theirs.backend.model.compile_logp(mode="FAST_COMPILE")
    for _ in range(3):
        log_sigma = float(rng.normal())
        weights = rng.normal(size=(M, 2) if levels else M)
        log_sd, log_length = rng.normal(size=2), rng.normal(size=2)
        at = {"sigma_log__": log_sigma, f"{pw_name(term)}_weights_raw": weights}
        there = {"sigma_log__": log_sigma, f"{term}_weights_raw": weights}
        if "share_cov" in term:
            for k, level in enumerate(levels):
                at |= {f"{term}_sigma[{level}]_log__": log_sd[k], f"{term}_ell[{level}]_log__": log_length[k]}
            there |= {f"{term}_sigma_log__": log_sd, f"{term}_ell_log__": log_length}
        else:
            both = {f"{term}_sigma_log__": log_sd[0], f"{term}_ell_log__": log_length[0]}
            at, there = at | both, there | both
        assert float(ours_logp(at)) == pytest.approx(float(theirs_logp(there)), rel=RTOL)


def pw_name(term: str) -> str:
    """Helper variables carry no commas, at which nutpie splits lists of dimensions."""
    return term.replace(", ", " ")


@pytest.fixture(scope="module")
def fit() -> pw.BayesFit:
    formula = "y ~ 1 + hsgp(x, m=8, c=1.5) + (1 | g)"
    return pw.Model(formula, table()).fit(draws=500, tune=500, seed=1, progress=False, target_accept=0.95)


# Of the rows at the ends of the function the weights are heavy-tailed.
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_fit_predicts_what_its_draws_say(fit, tmp_path):
    data = table().iloc[[3, 40]].assign(x=[2.05, 7.4])
    posterior = az.extract(fit.data)
    name = "hsgp(x, m=8, c=1.5)"
    omega, half = np.pi * np.arange(1, 9) / (2 * 6.0), 6.0
    phi = np.sin(omega * (data[["x"]].to_numpy() - 5 + half)) / np.sqrt(half / 8.0)
    by_hand = posterior["Intercept"].to_numpy() + phi @ posterior[f"{name}_weights"].to_numpy()
    effects = posterior["1|g"].sel({"g__factor_dim": data["g"].tolist()}).to_numpy()
    found = fit.predict_draws(data)
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort((by_hand + effects).T, axis=0), rtol=1e-9)
    np.testing.assert_allclose(fit.fitted, fit.predict_draws().mean(axis=0), rtol=1e-9)
    # sin(x) and the groups are what the rows are made of: what is left is noise of 0.5.
    assert 0.35 < fit.rmse() < 0.6
    assert f"{name}_weights[0]" not in fit.summary().index and f"{name}_ell" in fit.summary().index
    fit.save(tmp_path / "smooth.nc")
    np.testing.assert_allclose(pw.load_fit(tmp_path / "smooth.nc").predict_draws(data), found)
    assert np.isfinite(fit.loo().elpd)
    with pytest.raises(DataError, match="beyond the box"):
        fit.predict(data.assign(x=50.0))


def test_what_takes_linear_means_refuses(fit):
    model = pw.Model("y ~ 1 + hsgp(x, m=8, c=1.5) + (1 | g)", table())
    study = partial(pw.compare_pooling, fit.design.formula.text, table())
    for work in (model.fit_frequentist, model.to_bambi, fit.logo, study):
        with pytest.raises((FitError, pw.errors.ArgumentError), match="hsgp"):
            work()


def test_smooth_functions_of_further_parameters():
    model = pw.Model(["y ~ x", "sigma ~ hsgp(x, m=4, c=1.5)"], table())
    assert {"sigma_hsgp(x, m=4, c=1.5)_sigma", "sigma_hsgp(x, m=4, c=1.5)_ell"} <= set(model.priors["parameter"])
    assert "sigma_hsgp(x, m=4, c=1.5)_weights" in model.pymc.named_vars


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("hsgp(x, c=1.5)", "takes m="),
        ("hsgp(x, m=1.5, c=1.5)", "takes m="),
        ("hsgp(x, m=10)", "size of its box once"),
        ("hsgp(x, m=10, c=1.5, L=3)", "size of its box once"),
        ("hsgp(x, m=10, c=0.5)", "beyond the box"),
        ("hsgp(x, m=10, L=-1)", "above 0"),
        ('hsgp(x, m=10, c=1.5, cov="Mater32")', "Matern32"),
        ("hsgp(x, m=10, c=1.5, iso=2)", "True or False"),
        ("hsgp(x, z, m=99, c=1.5)", "lower m"),
        ("hsgp(g, m=10, c=1.5)", "takes numbers"),
        ("hsgp(one, m=10, c=1.5)", "1.0 in every row"),
        ("hsgp(x, m=10, c=1.5) + hsgp(x, m=10, c=1.5)", "twice"),
        ("x*hsgp(z, m=10, c=1.5)", "a term of its own"),
        ("(hsgp(x, m=10, c=1.5) | g)", "a term of its own"),
        ("x - hsgp(z, m=10, c=1.5)", "cannot be removed"),
    ],
)
def test_bad_terms(term, words):
    with pytest.raises((FormulaError, DataError), match=words):
        pw.Model(f"y ~ 1 + {term}", table())


def test_sums_have_none():
    with pytest.raises(DataError, match="linear in its coefficients"):
        pw.collapse(table(), "y ~ hsgp(x, m=10, c=1.5) + (1 | g)")
