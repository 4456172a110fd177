"""Models from Bambi and to Bambi: every prior is read, nothing is lost there and back, both posteriors are one.

Numbers of priors are copied: 1e-12.
"""

import warnings

import bambi as bmb
import numpy as np
import pandas as pd
import pytest

import poolwise as pw


def rows(seed: int = 1, n: int = 120, J: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = rng.permutation(np.arange(n) % J), rng.normal(size=n)
    y = 1 + 0.5 * x + rng.normal(size=J)[g] + rng.normal(size=n)
    return pd.DataFrame(
        {
            "y": y,
            "b": (y > 1).astype(int),
            "c": rng.poisson(np.exp(0.3 * y)),
            "x": x,
            "f": pd.Categorical(np.array(list("uvw"))[rng.choice(3, n, p=[0.5, 0.3, 0.2])]),
            "g": pd.Categorical([f"g{j}" for j in g]),
        }
    )


SPREAD = bmb.Prior("HalfNormal", sigma=1.0)


def kinds() -> pd.DataFrame:
    data = rows()
    return data.assign(k=np.where(data["g"].isin(["g0", "g1", "g2", "g3"]), "one", "other"))


def ordinal() -> pd.DataFrame:
    return rows().assign(o=lambda d: pd.cut(d["y"], [-99, 0, 2, 99], labels=["low", "mid", "high"]))


CASES = {
    "gaussian": ("y ~ x + f + (x | g)", "gaussian", None),
    "no intercept among groups": ("y ~ x + (0 + x | g)", "gaussian", None),
    "bernoulli, probit": ("b ~ x + (1 | g)", "bernoulli", "probit"),
    "a factor among groups": ("c ~ x + (f | g)", "poisson", None),
    "sigma too": (("y ~ x + (1 | g)", "sigma ~ x"), "gaussian", None),
}


def peer_of(case: str) -> bmb.Model:
    formula, family, link = CASES[case]
    text = bmb.Formula(*formula) if isinstance(formula, tuple) else formula
    return bmb.Model(text, rows(), family=family, link=link)


@pytest.mark.parametrize("case", CASES)
def test_every_prior_of_bambi_is_read(case):
    peer = peer_of(case)
    ours = pw.Model.from_bambi(peer)
    table = ours.priors.set_index("parameter")
    assert (table["source"] != "preset 'weakly_informative'").all()
    assert set(table["source"]) == {"preset 'from_bambi', override"}
    for name, component in peer.parameters.items():
        if not hasattr(component, "terms"):
            continue
        for term, own in component.terms.items():
            if own.prior is None or "|" in term:
                continue
            prefix = "" if name == peer.family.likelihood.parent else f"{name}_"
            priors = [one for one in ours.specification.priors if one.split("[")[0] == f"{prefix}{term}"]
            sigmas = [dict(ours.specification.priors[one].params)["sigma"] for one in priors]
            np.testing.assert_allclose(sigmas, np.broadcast_to(own.prior.args["sigma"], len(sigmas)), rtol=1e-12)
    assert not ours.design.factors or ours.design.factors[0].structure.n_correlations == 0


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(case):
    ours = pw.Model.from_bambi(peer_of(case))
    again = pw.Model.from_bambi(ours.to_bambi())
    columns = ["parameter", "distribution"]
    pd.testing.assert_frame_equal(again.priors[columns], ours.priors[columns])
    assert again.design.formula.canonical == ours.design.formula.canonical
    assert str(again.design.family) == str(ours.design.family)
    assert len(again.design.further) == len(ours.design.further)


@pytest.mark.slow
def test_both_posteriors_are_one():
    peer = peer_of("gaussian")
    ours = pw.Model.from_bambi(peer).fit(seed=1, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peer.fit(draws=1000, chains=4, random_seed=1, progressbar=False, inference_method="nutpie")
    for name in ("Intercept", "x", "1|g_sigma", "x|g_sigma", "sigma"):
        a, b = (np.asarray(one["posterior"][name]).ravel() for one in (ours.data, theirs))
        # Four standard errors of a difference, of 500 effective draws on either side at least.
        assert abs(a.mean() - b.mean()) < 4 * np.hypot(a.std(), b.std()) / np.sqrt(500), name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pw.Model.from_bambi("y ~ x"), "takes a bambi.Model; got str"),
        (
            lambda: pw.Model.from_bambi(bmb.Model("y ~ x", rows(), center_predictors=False)),
            "center_predictors=False",
        ),
        (
            lambda: pw.Model.from_bambi(bmb.Model("y ~ x", rows(), potentials=[(("x",), lambda x: -x)])),
            "potentials",
        ),
        (
            lambda: pw.Model.from_bambi(
                bmb.Model("y ~ x + (1 | g)", rows(), priors={"1|g": bmb.Prior("StudentT", nu=3, mu=0, sigma=SPREAD)})
            ),
            r"poolwise has Normal\(0, sd\)",
        ),
        (
            lambda: pw.Model.from_bambi(
                bmb.Model(
                    bmb.Formula("c ~ x", "psi ~ x"),
                    rows(),
                    family="zero_inflated_poisson",
                    link={"mu": "log", "psi": "probit"},
                )
            ),
            "link 'probit' of psi",
        ),
        (
            lambda: pw.Model.from_bambi(bmb.Model("o ~ 0 + x", ordinal(), family="cumulative")),
            "by category or threshold",
        ),
        (lambda: pw.Model("f ~ x", rows(), "categorical").to_bambi(), "by category or threshold"),
        (lambda: pw.Model.from_bambi(bmb.Model("y ~ hsgp(x, m=5, c=2)", rows())), "hsgp"),
        (lambda: pw.Model("y ~ x + (x | g)", rows()).to_bambi(), "no correlated effects"),
        (lambda: pw.Model("y ~ x + (1 | gr(g, by=k))", kinds()).to_bambi(), "neither gr"),
        (lambda: pw.Model("y ~ 1 + (1 | g)", rows(), priors="r2d2m2").to_bambi(), "has not the prior"),
        (lambda: pw.Model("y ~ x + (1 | g)", rows().assign(w=2.0), weights="w").to_bambi(), "no precision weights"),
    ],
)
def test_what_one_of_the_two_lacks_is_said(make, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        made = make()
        made.to_bambi()
