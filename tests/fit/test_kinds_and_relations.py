"""A covariance for each kind of group, ``gr(g, by=z)``, and related groups, ``gr(g, cov=A)``.

Tolerances: the collapsed density and the dense n x n one are the same formula, 1e-8 of a number of some hundreds. Two
sets of independent draws agree within 4 Monte Carlo standard errors of their difference, of 30 numbers of a fit once in
500 runs not; seeds are fixed.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import poolwise as pw
from poolwise.algebra.marginal import log_marginal
from poolwise.spec.exchange import exchangeable

TOLERANCE = 1e-8
MCSE = 4.0
J = 12


def data(seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(J), rng.integers(1, 9, J)))
    x = rng.normal(2.0, 1.5, len(codes))
    kind = np.array(["private", "public", "public"])[np.arange(J) % 3]
    u = rng.normal(size=(J, 2)) * np.where(kind == "public", 0.4, 1.5)[:, None]
    y = 1 + 0.5 * x + u[codes, 0] + 0.3 * u[codes, 1] * x + rng.normal(size=len(codes))
    labels = np.array([f"g{j}" for j in range(J)])
    return pd.DataFrame({"y": y, "x": x, "g": labels[codes], "kind": kind[codes], "w": rng.uniform(0.5, 2, len(codes))})


def matrix(labels, rate: float = 0.6) -> pd.DataFrame:
    """Correlation of an autoregression along the labels, scaled so that its diagonal is not 1."""
    count = len(labels)
    scale = np.linspace(0.8, 1.3, count)
    A = rate ** np.abs(np.subtract.outer(np.arange(count), np.arange(count))) * np.outer(scale, scale)
    return pd.DataFrame(A, labels, labels)


def dense(table: pd.DataFrame, Z: np.ndarray, V_of_pair, b, sigma: float, weights=None) -> float:
    """log N(y; Xb, V), V = sum over pairs of rows of z_i' V(g_i, g_j) z_j, plus the residual variance."""
    groups = sorted(table["g"].unique())
    own = [groups.index(label) for label in table["g"]]
    V = np.array([[Z[i] @ V_of_pair(own[i], own[k]) @ Z[k] for k in range(len(own))] for i in range(len(own))])
    V += np.diag(sigma**2 / (np.ones(len(own)) if weights is None else weights))
    X = np.column_stack([np.ones(len(table)), table["x"]])
    return float(stats.multivariate_normal.logpdf(table["y"], X @ b, V))


def collapsed(model: pw.Model, b, T, sigma: float) -> float:
    """The density of the rows from the sums of the collapsed form, at parameters in units of the data."""
    twin = exchangeable(model.design).sufficient
    basis = twin.basis
    offset, to_coefficients = basis.to_coefficients
    inner = np.linalg.solve(to_coefficients, np.asarray(b) - offset)
    T_inner = np.linalg.solve(basis.to_effects, T)
    value = log_marginal(twin.stats, inner[None], T_inner[None], np.array([(sigma / basis.y_scale) ** 2]))
    return float(np.asarray(value).item()) - model.design.n * np.log(basis.y_scale)


@pytest.mark.parametrize("weights", [None, "w"])
def test_the_density_with_kinds_is_the_dense_one(weights):
    table = data()
    model = pw.Model("y ~ x + (x | gr(g, by=kind))", table, weights=weights)
    rng = np.random.default_rng(2)
    T = {kind: np.linalg.cholesky(np.cov(rng.normal(size=(2, 9)))) for kind in ("private", "public")}
    kinds = table.groupby("g")["kind"].first().sort_index().tolist()
    Z = np.column_stack([np.ones(len(table)), table["x"]])

    def pair(j, k):
        return T[kinds[j]] @ T[kinds[j]].T if j == k else np.zeros((2, 2))

    expected = dense(table, Z, pair, [0.3, 0.8], 0.9, None if weights is None else table["w"].to_numpy())
    both = np.block([[T["private"], np.zeros((2, 2))], [np.zeros((2, 2)), T["public"]]])
    assert abs(collapsed(model, [0.3, 0.8], both, 0.9) - expected) < TOLERANCE * abs(expected)


@pytest.mark.parametrize(("formula", "weights"), [("1", None), ("1", "w"), ("0 + x", None)])
def test_the_density_of_related_groups_is_the_dense_one(formula, weights):
    table = data(3)
    A = matrix([f"g{j}" for j in range(J)])
    # In another order, and with a group that the data lack.
    order = [*A.index[::-1]]
    wider = pd.concat([A.loc[order, order], pd.DataFrame(0.0, ["other"], order)])
    wider["other"] = [0.0] * J + [1.0]
    model = pw.Model(f"y ~ x + ({formula} | gr(g, cov=A))", table, covariances={"A": wider}, weights=weights)
    Z = np.ones((len(table), 1)) if formula == "1" else table[["x"]].to_numpy()
    groups = sorted(table["g"].unique())
    values = A.loc[groups, groups].to_numpy()
    expected = dense(
        table,
        Z,
        lambda j, k: np.array([[0.49 * values[j, k]]]),
        [0.3, 0.8],
        0.9,
        None if weights is None else table["w"].to_numpy(),
    )
    assert abs(collapsed(model, [0.3, 0.8], np.array([[0.7]]), 0.9) - expected) < TOLERANCE * abs(expected)


CASES = {
    "kinds": ("y ~ x + (x | gr(g, by=kind))", None),
    "relation": ("y ~ x + (1 | gr(g, cov=A))", {"A": matrix([f"g{j}" for j in range(J)])}),
}


@pytest.fixture(scope="module", params=list(CASES))
def both(request):
    formula, covariances = CASES[request.param]
    model = pw.Model(formula, data(4), covariances=covariances)
    collapsed = model.fit(seed=1, progress=False)
    with warnings.catch_warnings():
        # The generative form mixes slowly here, which is why the other one exists; MCSE takes that into account.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        generative = model.fit(seed=2, progress=False, form="generative", target_accept=0.95)
    return request.param, collapsed, generative


def test_the_two_forms_are_one_posterior(both):
    _, collapsed, generative = both
    assert collapsed.form.startswith("collapsed form")
    one, other = collapsed.summary(effects=True), generative.summary(effects=True)
    assert set(one.index) == set(other.index)
    other = other.loc[one.index]
    gap = (one["mean"] - other["mean"]).abs() / np.hypot(one["mcse_mean"], other["mcse_mean"])
    assert gap.max() < MCSE, gap.idxmax()


def test_tables_and_files(both, tmp_path):
    case, fit, generative = both
    assert set(fit.credible_intervals()["parameter"]) == set(generative.credible_intervals()["parameter"])
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.predict(), fit.predict())
    assert again.design.formula == fit.design.formula
    if case == "relation":
        np.testing.assert_array_equal(again.design.factors[0].relation.matrix, fit.design.factors[0].relation.matrix)
    assert np.isfinite(fit.coef()["estimate"]).all()


def test_a_new_group_has_the_spread_of_its_kind(both):
    case, fit, _ = both
    new = pd.DataFrame({"x": [0.0, 0.0], "g": ["new", "other"], "kind": ["private", "public"]})
    if case == "relation":
        with pytest.raises(pw.PoolwiseError, match=r"how a group of 'g' outside the data is related"):
            fit.predict(new)
        assert np.isfinite(fit.predict(new, groups="population_mean")["estimate"]).all()
        return
    sd = fit._draws("1|g_sigma")
    drawn = fit.predict_draws(new, seed=5) - fit.coefficients[:, :1]
    spread = fit.predict_draws(new, groups="integrated", seed=6) - fit.coefficients[:, :1]
    for k in range(2):
        assert stats.kstest(drawn[:, k] / sd[:, k], "norm").pvalue > 1e-4
        assert stats.kstest(spread[:, k] / sd[:, k], "norm").pvalue > 1e-4
    for wrong, message in (
        (new.assign(kind="charity"), "kinds of groups that were not in the data: 'charity'"),
        (new.drop(columns="kind"), "no column 'kind', the kind of a new group"),
        (new.assign(g="new"), "rows of the new group 'new' of 'g' are of different kinds"),
    ):
        with pytest.raises(pw.PoolwiseError, match=message):
            fit.predict(wrong)


def test_a_diagonal_relation_of_ones_is_the_plain_model():
    table, labels = data(5), [f"g{j}" for j in range(J)]
    identity = pd.DataFrame(np.eye(J), labels, labels)
    related = pw.Model("y ~ x + (1 | gr(g, cov=A))", table, covariances={"A": identity})
    plain = pw.Model("y ~ x + (1 | g)", table)
    b, T, sigma = [0.2, 0.4], np.array([[0.8]]), 1.1
    twin = plain.sufficient
    offset, to_coefficients = twin.basis.to_coefficients
    expected = log_marginal(
        twin.stats,
        np.linalg.solve(to_coefficients, np.array(b) - offset)[None],
        np.linalg.solve(twin.basis.to_effects, T)[None],
        np.array([(sigma / twin.basis.y_scale) ** 2]),
    )
    expected = float(np.asarray(expected).item()) - len(table) * np.log(twin.basis.y_scale)
    assert abs(collapsed(related, b, T, sigma) - expected) < TOLERANCE * abs(expected)


def test_priors_by_kind():
    model = pw.Model(
        "y ~ x + (1 | gr(g, by=kind))", data(), priors={"1|g_sigma[public]": pw.Prior("Exponential", lam=3)}
    )
    priors = model.specification.priors
    assert priors["1|g_sigma[public]"].distribution == "Exponential"
    assert priors["1|g_sigma[private]"].distribution == "HalfNormal"
    all_kinds = model.with_priors({"1|g_sigma": pw.Prior("Exponential", lam=2)}).specification.priors
    assert {all_kinds[f"1|g_sigma[{kind}]"].params["lam"] for kind in ("private", "public")} == {2.0}
    with pytest.raises(pw.PoolwiseError, match="has a joint prior, of group sds"):
        model.with_priors("rstanarm")


def test_families_other_than_the_gaussian_sample_explicitly():
    table = data(6)
    table["event"] = (table["y"] > table["y"].median()).astype(int)
    model = pw.Model("event ~ x + (1 | gr(g, by=kind))", table, "bernoulli")
    with pytest.warns(pw.ConvergenceWarning):
        fit = model.fit(draws=50, tune=100, chains=2, seed=1, progress=False)
    assert fit.form.startswith("generative form") and "a covariance of its own" in fit.form
    assert fit.data["posterior"]["1|g_sigma"].dims[-1] == "g__kind"
    with pytest.raises(pw.PoolwiseError, match="gr\\(g, by=kind\\) has one a kind of group"):
        model.fit_frequentist()


def test_the_canonical_formula_reads_back():
    table = data().assign(z=0.0)
    labels = [f"g{j}" for j in range(J)]
    formula = "y ~ 1 + (x | gr(g, sd=~ I(2 * size), cov=A, by=kind))"
    table["size"] = table.groupby("g")["y"].transform("size")
    design = pw.Model(formula, table, covariances={"A": matrix(labels)}).design
    assert design.formula.canonical == "y ~ 1 + (1 + x | gr(g, by=kind, cov=A, sd=~1 + I(2 * size)))"
    again = pw.Model(design.formula.canonical, table, covariances=design.covariances)
    assert again.design.formula == design.formula


@pytest.mark.parametrize(
    ("grouping", "message"),
    [
        ("gr(g, by=x)", "'x' holds fractions; cut it into classes"),
        ("gr(g, by=row)", r"'row' differs within \d+ of the 12 groups of 'g'"),
        ("gr(g, by=one)", "column 'one' is a in every row"),
        ("gr(g, by=kind, by=kind)", "by= is given twice"),
        ("gr(g, by=missing)", "no column 'missing'"),
        ("gr(g, by=kind + x)", "close the bracket"),
        ("gr(g, by=y)", "the response 'y' also stands on the right"),
        ("gr(g, cov=B)", "there are 'A'"),
        ("gr(g, cov=log(x))", "close the bracket"),
        ("gr(g, cov='A')", "as the name of a matrix"),
    ],
)
def test_bad_groupings(grouping, message):
    table = data().assign(one="a", row=lambda frame: np.arange(len(frame)) % 2)
    with pytest.raises(pw.PoolwiseError, match=message):
        covariances = {"A": matrix([f"g{j}" for j in range(J)])} if "cov" in grouping else None
        pw.Model(f"y ~ 1 + (1 | {grouping})", table, covariances=covariances)


def test_bad_matrices():
    table, labels = data(), [f"g{j}" for j in range(J)]
    good = matrix(labels)

    def asymmetric():
        A = good.copy()
        A.iloc[0, 1] += 1e-3
        return A

    for wrong, message in (
        (good.to_numpy(), "must be a DataFrame with the groups of 'g' as index"),
        (good.iloc[:-2, :-2], "lacks 2 of the 12 groups in its index: 'g10', 'g11'|lacks 2 of the 12 groups"),
        (good.rename(columns={"g1": "h"}), "lacks 1 of the 12 groups in its columns: 'g1'"),
        (asymmetric(), "is not symmetric: 'g0', 'g1'"),
        (good * 0 + 1.0, "is no covariance: its smallest eigenvalue"),
        (good.replace(good.iloc[0, 0], np.nan), "misses values"),
        (good.astype(object).replace(good.iloc[0, 0], "a"), "not a number"),
        (pd.concat([good, good.iloc[:1]]), "has a group twice in its index"),
        (None, "must be a DataFrame"),
    ):
        with pytest.raises(pw.PoolwiseError, match=message):
            pw.Model("y ~ 1 + (1 | gr(g, cov=A))", table, covariances={"A": wrong})
    with pytest.raises(pw.PoolwiseError, match=r"none is given; write Model\(..., covariances="):
        pw.Model("y ~ 1 + (1 | gr(g, cov=A))", table)
    with pytest.raises(pw.PoolwiseError, match="'B', which no block names"):
        pw.Model("y ~ 1 + (1 | g)", table, covariances={"B": good})
