"""fit.check(): what it runs, how it ranks, what findings do; sampling geometry and posterior predictive statistics.

Each check fires on data (or draws) made for it and is silent on sleepstudy or its like.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import poolwise as pw
from poolwise.check import run
from poolwise.check.geometry import few_effective_draws, low_energy, tree_depth
from poolwise.check.likelihood import not_maximised
from poolwise.check.predictive import posterior_predictive, predictive_statistics, statistics
from poolwise.check.sampling import not_converged
from poolwise.check.settings import CODES
from poolwise.result.no_pooling_glm import NoPoolingGLM


@pytest.fixture(scope="module")
def sleep():
    return pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit(seed=1, progress=False)


def noisy(rng, noise, J=12, rows=15):
    g = np.repeat(np.arange(J), rows)
    return pd.DataFrame({"g": g.astype(str), "y": rng.normal(0, 1, J)[g] + noise(len(g), g)})


def fit_of(data, formula="y ~ 1 + (1 | g)", **options):
    return pw.Model(formula, data, **options).fit(seed=1, progress=False)


def test_bounce_has_what_is_known_of_it(bounce):
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce)
    assert model.fit(seed=1, progress=False).check() == []
    # What complete pooling does to the slope is a finding of the study, where complete pooling is among the fits.
    assert model.fit_frequentist().check().codes == ["singular_fit"]


def test_slopes_between_and_within_count_at_alpha():
    """A contextual effect is found in a fit; groups that differ at random are none, however far complete pooling is."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(20), 8)
    x = rng.normal(size=20)[g] + rng.normal(size=160)
    y = 0.5 * x + rng.normal(size=20)[g] + rng.normal(size=160)
    mean = np.bincount(g, x)[g] / 8
    data = pd.DataFrame({"g": g.astype(str), "x": x, "y": y, "z": y + 2 * mean})
    fit = pw.Model("z ~ x + (1 | g)", data).fit_frequentist()
    assert fit.check().frame[["code", "severity"]].to_numpy().tolist() == [["between_within", "warning"]]
    assert fit.check(pw.CheckSettings(alpha=1e-12)) == []
    assert pw.Model("y ~ x + (1 | g)", data).fit_frequentist().check() == []


def test_sleepstudy_has_no_geometry_finding_and_one_predictive(sleep):
    assert tree_depth(sleep) + low_energy(sleep) + few_effective_draws(sleep) == []
    (found,) = posterior_predictive(sleep)
    # Subjects differ in their noise: residual sds from 8 to 54 where 26 is assumed for all.
    assert found.title.startswith("spread of group sds of the data is 0.474")
    residual = pd.Series(sleep.residuals).groupby(sleep.design.factors[0].codes).std(ddof=0)
    assert np.log(residual).std(ddof=0) == pytest.approx(found.table.set_index("statistic")["observed"].iloc[-1])


def with_stats(fit, **changed):
    """The fit with other sample statistics."""
    stats = fit.data["sample_stats"].to_dataset().assign(changed)
    tree = xr.DataTree.from_dict({"/posterior": fit.posterior, "/sample_stats": stats})
    return pw.BayesFit(fit.design, tree, fit.resolved_priors, fit.settings, fit.form)


def test_trajectories_cut_short(sleep):
    dims = ("chain", "draw")
    reached = np.zeros((4, 1000), dtype=bool)
    reached[2, :100] = True
    found = tree_depth(with_stats(sleep, maxdepth_reached=(dims, reached)))
    assert [finding.code for finding in found] == ["tree_depth"]
    assert found[0].value == pytest.approx(0.025)
    assert found[0].table["share"].tolist() == pytest.approx([0, 0, 0.1, 0])


def test_an_energy_that_hardly_moves(sleep):
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(size=(4, 1000)), axis=1)
    found = low_energy(with_stats(sleep, energy=(("chain", "draw"), walk)))
    assert [finding.code for finding in found] == ["low_energy"]
    expected = ((np.diff(walk, axis=1) ** 2).mean(axis=1) / walk.var(axis=1, ddof=1)).min()
    assert found[0].value == pytest.approx(expected)


def test_few_draws_make_rough_ends():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    with pytest.warns(pw.ConvergenceWarning):
        fit = model.fit(draws=20, chains=2, seed=1, progress=False)
    found = few_effective_draws(fit)
    assert [finding.code for finding in found] == ["few_effective_draws"]
    assert found[0].value > 0.1
    assert [finding.code for finding in not_converged(fit)] == ["not_converged"]


def test_likelihoods_that_are_not_maximised():
    """The identity link of counts leaves the means of some groups no room above zero."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 6), "x": rng.normal(size=36), "y": rng.poisson(1, 36)})
    for link, codes in (("identity", ["not_maximised"]), ("log", [])):
        model = pw.Model("y ~ x + (1 | g)", data, "poisson", link=link)
        none = NoPoolingGLM(model.design, model.design.factors[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pw.PoolwiseWarning)
            partial = model.fit_frequentist()
        found = not_maximised(none, partial)
        assert [finding.code for finding in found] == codes
        assert all(set(finding.table["group"]) == set(none.failed) for finding in found)


@pytest.mark.parametrize(
    ("noise", "statistic"),
    [
        (lambda rng: lambda n, g: rng.exponential(1, n) ** 1.5, "skewness"),
        (lambda rng: lambda n, g: np.where(np.arange(n) == 7, 15.0, rng.normal(size=n)), "largest"),
        (lambda rng: lambda n, g: rng.normal(size=n) * np.where(g % 2, 0.1, 2.0), "spread_of_group_sds"),
    ],
    ids=["skewed", "outlier", "unequal"],
)
def test_a_family_that_cannot_make_the_data(noise, statistic):
    rng = np.random.default_rng(3)
    fit = fit_of(noisy(rng, noise(rng)))
    found = posterior_predictive(fit)
    assert [finding.code for finding in found] == ["posterior_predictive"]
    table = found[0].table.set_index("statistic")
    assert table.loc[statistic, "p"] < 0.0025


def test_too_many_zeros():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(15), 20)
    data = pd.DataFrame({"g": g.astype(str), "y": rng.poisson(4, 300) * (rng.random(300) < 0.6)})
    found = posterior_predictive(fit_of(data, family="poisson"))
    assert found[0].title.startswith("share of zeros")
    plain = data.assign(y=rng.poisson(2, 300))
    assert posterior_predictive(fit_of(plain, family="poisson")) == []


def test_statistics_are_their_definitions(sleep):
    y = sleep.design.y
    seen = statistics(sleep, y[None])
    centred = y - y.mean()
    assert seen["skewness"][0] == pytest.approx((centred**3).mean() / (centred**2).mean() ** 1.5)
    assert (seen["smallest"][0], seen["largest"][0]) == (y.min(), y.max())
    table = predictive_statistics(sleep)
    assert table["p"].between(0, 1).all()
    mixed = predictive_statistics(sleep, replications="mixed")
    # New subjects differ from those seen: replicated extremes vary more.
    width = {name: np.ptp(one.loc["largest", ["lower", "upper"]]) for name, one in (("own", table), ("new", mixed))}
    assert width["new"] > width["own"]


def test_statistics_of_the_prior_of_the_population_and_by_group(sleep):
    prior = predictive_statistics(sleep, replications="prior")
    own, mixed = (predictive_statistics(sleep, replications=kind) for kind in ("posterior", "mixed"))
    widths = [float(np.ptp(one.loc["median", ["lower", "upper"]])) for one in (own, mixed, prior)]
    # The weakly informative preset expects responses several times as far apart as those of this population.
    assert widths[0] < widths[1] < widths[2] / 3
    assert "spread_of_group_sds" in mixed.index and "spread_of_group_sds" not in prior.index
    found, y = predictive_statistics(sleep, by="Subject"), sleep.design.frame["Reaction"]
    by = y.groupby(sleep.design.frame["Subject"].astype(str))
    assert len(found) == 6 * 18 and (found["n"] == 10).all()
    assert found.loc["median", "observed"].to_dict() == pytest.approx(by.median().to_dict())
    drawn = sleep.predict_draws(kind="response", seed=1)[:, (sleep.design.frame["Subject"].astype(str) == "332")]
    assert found.loc[("largest", "332"), "replicated"] == pytest.approx(np.median(drawn.max(axis=1)))
    assert found.loc[("largest", "332"), "p"] == pytest.approx(2 * (drawn.max(axis=1) > by.max()["332"]).mean())
    with pytest.raises(pw.PoolwiseError, match="'posterior', 'mixed' or 'prior'; got 'population'"):
        predictive_statistics(sleep, replications="population")


def test_ordered_levels_have_no_statistics():
    """Levels are drawn as 1, 2, ... and kept as 0, 1, ...: their extremes say nothing."""
    levels = pd.DataFrame({"o": pd.Categorical(list("abca") * 15, ordered=True), "g": list("wxyz") * 15})
    fit = pw.Model("o ~ 1 + (1 | g)", levels, "cumulative").fit(seed=1, progress=False)
    assert predictive_statistics(fit).empty and posterior_predictive(fit) == []


@pytest.mark.slow
def test_nulls_are_left_alone():
    """100 normal data sets: the nominal rate is 0.01; 5 or more of 100 have probability 0.003 under it."""
    rng = np.random.default_rng(11)
    fired = 0
    for _ in range(100):
        data = noisy(rng, lambda n, g: rng.normal(size=n), J=8, rows=8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pw.ConvergenceWarning)
            fit = pw.Model("y ~ 1 + (1 | g)", data).fit(draws=500, chains=2, seed=1, progress=False)
        fired += bool(posterior_predictive(fit))
    assert fired < 5


def test_actions(bounce):
    fit = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce).fit_frequentist()
    with pytest.raises(pw.FindingsError, match="singular_fit") as caught:
        fit.check(pw.CheckSettings(actions={"serious": "raise"}))
    assert [finding.code for finding in caught.value.findings] == ["singular_fit"]
    quiet = pw.CheckSettings(actions={"serious": "raise", "singular_fit": "ignore"})
    assert fit.check(quiet) == []
    with pytest.warns(pw.PoolwiseWarning, match="singular_fit"):
        fit.check(pw.CheckSettings(actions={"singular_fit": "warn"}))


def test_wrong_settings_are_said():
    with pytest.raises(pw.PoolwiseError, match="did you mean 'singular_fit'"):
        pw.CheckSettings(actions={"singular_fits": "raise"})
    with pytest.raises(pw.PoolwiseError, match="'ignore', 'note', 'warn', 'raise'; got 'stop'"):
        pw.CheckSettings(actions={"singular_fit": "stop"})
    with pytest.raises(pw.PoolwiseError, match="contraction must lie strictly between 0 and 1; got 3"):
        pw.CheckSettings(contraction=3)


def test_a_check_that_breaks_hides_nothing(bounce, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("boom")

    monkeypatch.setattr(run, "between_within", broken)
    findings = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce).fit_frequentist().check()
    assert findings.codes == ["singular_fit", "check_failed"]
    assert "between_within was not checked: RuntimeError: boom" in findings[1].title


def test_codes_are_those_of_the_checks():
    """Every code that a check of ``run`` can give has an action."""
    import re
    from pathlib import Path

    folder = Path(run.__file__).parent
    given = {code for path in folder.glob("*.py") for code in re.findall(r'code="(\w+)"', path.read_text())}
    # Of the study, or of a check that is called by itself.
    assert given - set(CODES) == {
        "coding_matters",
        "not_maximised",
        "separation",
        "too_few_rows",
        "vanishing_intervals",
    }


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("level ~ x + (1 | g)", "sratio"),
        ("level ~ x + (1 | g)", "categorical"),
        ("y ~ hsgp(x, m=5, c=1.5) + (1 | g)", "gaussian"),
    ],
)
def test_checks_that_need_a_frequentist_fit_are_one_quiet_line(formula, family):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": list("abcdefgh") * 10, "x": rng.normal(size=80), "level": rng.integers(0, 3, 80)})
    data["y"] = rng.normal(size=80)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.PoolwiseWarning)
        findings = pw.Model(formula, data, family).fit(100, 200, 2, seed=1, progress=False).check()
    assert "check_failed" not in findings.codes
    listed = "between_within, undue_shrinkage" + (", prior_decides" if family != "sratio" else "")
    line = f"Not applicable here: {listed} (the model has no frequentist fit)."
    assert repr(findings).endswith(f"\n{line}") and line in findings._repr_html_()
