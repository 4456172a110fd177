"""Presets load or say what is wrong with them; resolved, they are plain numbers with a source."""

import copy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from poolwise.data.examples import load_dataset
from poolwise.errors import PoolwiseWarning, PriorError, UnknownNameError
from poolwise.model import Model
from poolwise.priors import presets as module
from poolwise.priors.distributions import JOINT_ROLES
from poolwise.priors.presets import CATALOGUE, as_preset, load_preset, presets
from poolwise.priors.prior import Prior, Scaled
from poolwise.priors.read import ROLES
from poolwise.priors.resolve import Parameter, priors_table, resolve
from poolwise.priors.scale import DataFacts, EffectFacts, column_facts

RTOL = 1e-12  # the same two or three multiplications in another order
DATA_RTOL = 1e-9  # sums over 180 rows of numbers up to 500, in another order

SHIPPED = [
    "article_2020_diffuse",
    "article_2020_foundations",
    "article_2020_lmm",
    "bambi_0_21",
    "boundary_avoiding",
    "brms",
    "few_groups",
    "flat",
    "gelman_half_t",
    "horseshoe",
    "icc_beta",
    "pc",
    "r2d2m2",
    "rstanarm",
    "weakly_informative",
]
NORMAL, HALF = Prior("Normal", mu=7, sigma=3), Prior("HalfNormal", sigma=3)

FACTS = DataFacts(
    n=40,
    mean_y=10.0,
    sd_y=4.0,
    median_y=9.26,
    mad_y=3.14,
    columns={
        "x": column_facts(np.array([0.0, 1.0, 2.0])),
        "f[b]": column_facts(np.array([0.0, 1.0, 0.0])),
        "f[c]": column_facts(np.array([0.0, 0.0, 1.0])),
    },
    effects={"1|g_sigma": EffectFacts(0.0, 0.0, True), "x|g_sigma": EffectFacts(0.5, 1.0, False)},
    groups={"g": 8},
    intercept=True,
)
PARAMETERS = [
    Parameter("Intercept", "intercept", "Intercept"),
    Parameter("x", "slope", "x"),
    Parameter("f[b]", "slope", "f[b]"),
    Parameter("f[c]", "slope", "f[c]"),
    Parameter("1|g_sigma", "group_sd_intercept", "1|g_sigma"),
    Parameter("x|g_sigma", "group_sd_slope", "x|g_sigma"),
    Parameter("corr|g", "group_correlation", "corr|g"),
    Parameter("sigma", "residual_sd", "sigma"),
]


def resolved(priors=None, overrides=None, parameters=PARAMETERS) -> dict:
    preset, own = as_preset(priors)
    return {row.parameter: row for row in resolve(preset, FACTS, parameters, overrides or own)}


def changed(overrides: dict) -> dict:
    """Priors that came from the call."""
    return {name: row.prior for name, row in resolved(overrides).items() if row.source == "call"}


@pytest.fixture
def preset_file(tmp_path):
    """Write a variant of the default preset to a file called mine.toml."""
    text = (CATALOGUE / "weakly_informative.toml").read_text(encoding="utf-8")
    text = text.replace('name = "weakly_informative"', 'name = "mine"')

    def write(old: str = "", new: str = "", add: str = "") -> Path:
        assert old in text
        path = tmp_path / "mine.toml"
        path.write_text(text.replace(old, new, 1) + add, encoding="utf-8")
        return path

    return write


# Finding and listing.


def test_the_catalogue():
    table = presets()
    assert list(table.columns) == ["name", "title", "when", "when_not", "source"]
    assert list(table["name"]) == SHIPPED


@pytest.mark.parametrize("name", [path.stem for path in sorted(CATALOGUE.glob("*.toml"))])
def test_every_shipped_preset_is_complete(name):
    preset = load_preset(name)
    assert set(preset.roles) == set(ROLES)
    for role, prior in preset.roles.items():
        assert prior.fits(ROLES[role]) or role in JOINT_ROLES[prior.distribution]
    assert preset.references
    assert preset.title in repr(preset)


def test_an_unknown_name_lists_the_near_one():
    with pytest.raises(UnknownNameError, match="no prior preset 'brm'; did you mean 'brms'"):
        load_preset("brm")


def test_by_path(preset_file):
    path = preset_file()
    assert load_preset(path) == load_preset(str(path))
    assert load_preset(path).name == "mine"
    assert load_preset(path).source == str(path)


def test_by_folder(preset_file, monkeypatch, tmp_path):
    preset_file()
    monkeypatch.setenv("POOLWISE_PRIORS", str(tmp_path))
    assert load_preset("mine").name == "mine"
    assert "mine" in list(presets()["name"])


def test_a_folder_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("POOLWISE_PRIORS", str(tmp_path / "nowhere"))
    with pytest.raises(PriorError, match=r"POOLWISE_PRIORS names '.*nowhere', which is not a folder"):
        presets()


def test_a_name_may_not_be_taken_twice(monkeypatch, tmp_path):
    shutil.copy(CATALOGUE / "brms.toml", tmp_path)
    monkeypatch.setenv("POOLWISE_PRIORS", str(tmp_path))
    with pytest.raises(PriorError, match=r"two presets are called 'brms': .* rename yours"):
        presets()


def test_an_invalid_file_does_not_hide_the_others(preset_file, monkeypatch, tmp_path):
    preset_file()
    (tmp_path / "broken.toml").write_text("title = 3")
    monkeypatch.setenv("POOLWISE_PRIORS", str(tmp_path))
    said = r"not listed, the preset '.*broken.toml' is not valid:\n- name must be a text.*\(from POOLWISE_PRIORS\)$"
    with pytest.warns(PoolwiseWarning, match=f"(?s){said}"):
        table = presets()
    assert sorted(table["name"]) == sorted([*SHIPPED, "mine"])


# One over a group sd: Gelman (2006) has the proof that there is no posterior.


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | h)"])
def test_one_over_a_group_sd_is_refused(formula):
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=24), "x": rng.normal(size=24), "g": list("abcd") * 6, "h": list("aabbcc") * 4}
    improper = Prior("JeffreysScale")
    with pytest.raises(PriorError, match=r"prior of '1\|g_sigma' \(call\): JeffreysScale has no posterior.*HalfFlat"):
        Model(formula, data, priors={"1|g_sigma": improper})
    preset = load_preset("flat").override({"1|g_sigma": improper})
    with pytest.raises(PriorError, match=r"\(preset 'flat', override\): JeffreysScale has no posterior"):
        Model(formula, data).with_priors(preset)
    fit = Model(formula, data, priors={"sigma": improper}).fit(draws=500, seed=1, progress=False)
    assert fit.converged


def test_a_file_with_one_over_a_group_sd_is_not_valid(preset_file):
    old = load_preset("weakly_informative").roles["group_sd_intercept"]
    assert old.distribution == "HalfNormal"
    path = preset_file()
    text = path.read_text()
    head, rest = text.split("[group_sd_intercept]", 1)
    path.write_text(f'{head}[group_sd_intercept]\ndistribution = "JeffreysScale"\n\n[{rest.split("[", 1)[1]}')
    with pytest.raises(PriorError, match=r"\[group_sd_intercept\] JeffreysScale has no posterior"):
        load_preset(path)


def test_rows_count_once_in_the_rules_whatever_their_weights():
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=24), "x": rng.normal(size=24), "g": list("abcd") * 6, "w": rng.integers(1, 9, 24)}
    plain = Model("y ~ x + (x | g)", data).specification.priors
    assert Model("y ~ x + (x | g)", data, weights="w").specification.priors == plain
    assert Model("weighted(y, w) ~ x + (x | g)", data).specification.priors == plain


@pytest.mark.parametrize("wrap", [str, lambda folder: lambda: folder], ids=["path", "function"])
def test_by_entry_point(preset_file, monkeypatch, tmp_path, wrap):
    preset_file()
    point = SimpleNamespace(name="school", dist=None, load=lambda: wrap(tmp_path))
    monkeypatch.setattr(module, "_entry_points", lambda installed: [point])
    assert load_preset("mine").name == "mine"


# Reading.


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "', 'titel = "', "unknown key 'titel'; did you mean 'title'"),
        ('title = "Weakly informative, scaled to the data"', "title = 3", "title must be a text; found 3"),
        ('name = "mine"', 'name = "yours"', "name is 'yours', the file is called 'mine'; they must agree"),
        ("[slope]", "[slopes]", "unknown key 'slopes'; did you mean 'slope'"),
        ("[slope]", "[slopes]", r"\[slope\] must be a table with a distribution; found nothing"),
        (
            '"HalfNormal"',
            '"HalfNorml"',
            r"\[group_sd_intercept\] unknown distribution 'HalfNorml'; did you mean 'HalfN",
        ),
        ("eta = 2", "eta = -2", r"\[group_correlation\] LKJ: eta must be positive; got -2"),
        ("eta = 2", "eta = nan", r"\[group_correlation\] LKJ: eta must be finite; got nan"),
        ("eta = 2", "eta = inf", r"\[group_correlation\] LKJ: eta must be finite; got inf"),
        ("eta = 2", "eta = true", r"\[group_correlation\] LKJ: eta must be a number; got True"),
        ("eta = 2", "nu = 2", r"\[group_correlation\] LKJ has no argument 'nu'"),
        ("eta = 2", "", r"\[group_correlation\] LKJ needs eta; missing: eta"),
        (
            '"one_over_sd_y"',
            '"one_over_sd"',
            r"\[residual_sd\] .* unknown rule 'one_over_sd'; did you mean 'one_over_sd_",
        ),
        (
            '"Exponential"\nlam',
            '"Normal"\nmu = 0\nsigma',
            r"\[residual_sd\] Normal has real support; a positive one is",
        ),
        ('"LKJ"\neta = 2', '"Flat"', r"\[group_correlation\] Flat has real support; a correlation one is needed"),
        ("references = [", "references = [1, ", "references must be a list of texts"),
    ],
)
def test_what_is_wrong_with_a_file(preset_file, old, new, message):
    path = preset_file(old, new)
    with pytest.raises(PriorError, match=message) as caught:
        load_preset(path)
    assert str(path) in str(caught.value)


def test_all_problems_in_one_message(preset_file):
    path = preset_file("eta = 2", "eta = 0", add="\n[more]\n[overrides.x]\ndistribution = 'Normal'\n")
    with pytest.raises(PriorError) as caught:
        load_preset(path)
    assert str(caught.value).count("\n- ") == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "is not valid TOML"),
        (b"name = '\xff'", "is not UTF-8 text"),
        (b"#" * 65_000, "has 65000 bytes; a preset has at most 64000"),
        (b"a = " + b"[\n" * 30_000, "is not valid TOML"),
    ],
)
def test_files_that_are_no_presets(tmp_path, content, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(PriorError, match=message):
        load_preset(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PriorError, match="there is no preset file"):
        load_preset(tmp_path)
    with pytest.raises(PriorError, match=r"there is no preset file 'nowhere/mine.toml'"):
        load_preset("nowhere/mine.toml")


def test_tables_for_links_and_families_are_kept(preset_file):
    tables = "\n[link.inverse.slope]\ndistribution = 'Normal'\nmu = 0\nsigma = 1.5\n"
    tables += "\n[family.negativebinomial.alpha]\ndistribution = 'HalfCauchy'\nbeta = 1\n"
    extras = load_preset(preset_file(add=tables)).extras
    assert extras["link"]["inverse"]["slope"] == Prior("Normal", mu=0, sigma=1.5)
    assert extras["family"]["negativebinomial"]["alpha"] == Prior("HalfCauchy", beta=1)


# Resolving.


def test_weakly_informative():
    found = {name: row.prior for name, row in resolved().items()}
    assert found["Intercept"] == Prior("Normal", mu=10, sigma=10)
    assert found["x"] == Prior("Normal", mu=0, sigma=10)
    # The sd of an indicator, 0.577 here, is above its floor of 0.25.
    np.testing.assert_allclose(found["f[b]"].params["sigma"], 2.5 * 4 / np.sqrt(1 / 3), rtol=RTOL)
    assert found["1|g_sigma"] == Prior("HalfNormal", sigma=4)
    assert found["x|g_sigma"] == Prior("HalfNormal", sigma=8)
    assert found["corr|g"] == Prior("LKJ", eta=2)
    assert found["sigma"] == Prior("Exponential", lam=0.25)


def test_brms():
    found = {name: row.prior for name, row in resolved("brms").items()}
    half_t = Prior("HalfStudentT", nu=3, sigma=3.1)
    assert found["Intercept"] == Prior("StudentT", nu=3, mu=9.3, sigma=3.1)
    assert found["x"] == Prior("Flat")
    assert found["1|g_sigma"] == found["x|g_sigma"] == found["sigma"] == half_t
    assert found["corr|g"] == Prior("LKJ", eta=1)


def test_flat():
    found = {name: row.prior for name, row in resolved("flat").items()}
    assert found["Intercept"] == found["x"] == Prior("Flat")
    assert found["1|g_sigma"] == found["x|g_sigma"] == Prior("HalfFlat")
    assert found["sigma"] == Prior("JeffreysScale")
    assert found["corr|g"] == Prior("LKJ", eta=1)


@pytest.mark.parametrize(
    ("name", "intercept", "slope", "sd", "sigma"),
    [
        (
            "article_2020_foundations",
            Prior("Normal", mu=200, sigma=100),
            Prior("Normal", mu=1, sigma=1),
            Prior("HalfCauchy", beta=1),
            Prior("HalfCauchy", beta=1),
        ),
        (
            "article_2020_lmm",
            Prior("Normal", mu=200, sigma=1),
            Prior("Normal", mu=4, sigma=1),
            Prior("HalfNormal", sigma=10),
            Prior("HalfNormal", sigma=100),
        ),
    ],
)
def test_the_articles(name, intercept, slope, sd, sigma):
    found = {parameter: row.prior for parameter, row in resolved(name).items()}
    assert (found["Intercept"], found["x"], found["sigma"]) == (intercept, slope, sigma)
    assert found["1|g_sigma"] == found["x|g_sigma"] == sd
    assert found["corr|g"] == Prior("LKJ", eta=1)


def test_nothing_scaled_is_left():
    for name in SHIPPED:
        values = [value for row in resolved(name).values() for value in row.prior.params.values()]
        assert not any(isinstance(value, Scaled) for value in values)


def test_the_rule_and_the_source_are_said():
    row = resolved()["x"]
    assert row.rule == "sigma = 2.5 x sd_y_over_sd_x = 2.5 x 4"
    assert row.source == "preset 'weakly_informative'"
    assert resolved({"x": NORMAL})["x"].source == "call"
    assert resolved(load_preset("brms").override({"x": NORMAL}))["x"].source == "preset 'brms', override"


def test_the_table():
    table = priors_table(tuple(resolved("brms").values()))
    assert list(table.columns) == ["parameter", "role", "distribution", "rule", "source", "at"]
    assert list(table["parameter"]) == [parameter.name for parameter in PARAMETERS]
    assert table["distribution"][0] == "StudentT(nu=3, mu=9.3, sigma=3.1)"


# Overrides.


def test_by_name():
    assert changed({"x": NORMAL, "1|g_sigma": HALF}) == {"x": NORMAL, "1|g_sigma": HALF}
    assert changed({"f[b]": NORMAL}) == {"f[b]": NORMAL}
    assert changed({"corr|g": Prior("LKJ", eta=4)}) == {"corr|g": Prior("LKJ", eta=4)}


def test_by_term():
    assert changed({"f": NORMAL}) == {"f[b]": NORMAL, "f[c]": NORMAL}


def test_in_the_nested_form_of_bambi():
    inner = SimpleNamespace(name="HalfNormal", args={"sigma": np.array(3.0)})
    nested = SimpleNamespace(name="Normal", args={"mu": np.array(0.0), "sigma": inner})
    assert changed({"1|g": nested}) == {"1|g_sigma": HALF}


def test_scaled_overrides_follow_the_data():
    assert changed({"sigma": Prior("HalfNormal", sigma={"rule": "sd_y", "times": 0.5})}) == {
        "sigma": Prior("HalfNormal", sigma=2)
    }


def test_the_call_goes_before_the_preset():
    preset = load_preset("brms").override({"x": Prior("Normal", mu=0, sigma=1)})
    assert resolved(preset, {"x": NORMAL})["x"].prior == NORMAL


def test_override_leaves_the_preset_as_it_is():
    preset = load_preset("brms")
    other = preset.override({"x": NORMAL})
    assert (dict(preset.overrides), dict(other.overrides)) == ({}, {"x": NORMAL})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"z": NORMAL}, "no parameter 'z' in this model; Available: 'Intercept', 'x'"),
        ({"1|h_sigma": HALF}, r"no parameter '1\|h_sigma' in this model; did you mean '1\|g_sigma'"),
        ({"sigma": NORMAL}, r"the prior of 'sigma' is Normal\(mu=7, sigma=3\), with real support; .* is positive"),
        ({"1|g_sigma": Prior("Uniform", lower=-1, upper=1)}, r"the prior of '1\|g_sigma' is Uniform.* is positive"),
        ({"corr|g": NORMAL}, r"the prior of 'corr\|g' is Normal.*; this parameter is a correlation: use LKJ"),
        ({"x": Prior("LKJ", eta=1)}, "the prior of 'x' is LKJ.*; this parameter is a real number"),
        (
            {"x": ("Normal", 0, 1)},
            r"a bambi.Prior or a distribution of PreliZ; got \('Normal', 0, 1\) \(tuple\)",
        ),
        (
            {"sigma": Prior("HalfNormal", sigma={"rule": "sd_y_over_sd_x"})},
            r"the rule 'sd_y_over_sd_x' does not apply to 'sigma' \(residual sd\)",
        ),
    ],
)
def test_overrides_that_cannot_be(overrides, message):
    with pytest.raises(PriorError, match=message):
        resolved(overrides)


def test_what_priors_may_be(preset_file):
    assert as_preset(None)[0].name == "weakly_informative"
    assert as_preset("brms")[0].name == "brms"
    assert as_preset(preset_file())[0].name == "mine"
    assert as_preset({"x": NORMAL})[1] == {"x": NORMAL}
    with pytest.raises(PriorError, match=r"priors must be the name or path of a preset, .* got list"):
        as_preset([NORMAL])


VARYING = Parameter("f[b]|g_sigma", "group_sd_slope", "x|g_sigma")


def test_a_term_does_not_reach_into_the_group_part():
    # "f" is the common term; "f[b]|g_sigma" only begins like it.
    found = resolved(None, {"f": Prior("Flat")}, [*PARAMETERS, VARYING])
    assert [name for name, row in found.items() if row.source == "call"] == ["f[b]", "f[c]"]


def test_terms_of_the_group_part_and_interactions():
    parameters = [*PARAMETERS, VARYING, Parameter("f[b]:x", "slope", "x"), Parameter("f[a[1]]:x", "slope", "x")]
    for key, prior, names in [
        ("f|g_sigma", HALF, ["f[b]|g_sigma"]),
        ("f:x", NORMAL, ["f[b]:x", "f[a[1]]:x"]),
    ]:
        found = resolved(None, {key: prior}, parameters)
        assert [name for name, row in found.items() if row.source == "call"] == names


def test_the_exact_name_goes_before_the_term_in_any_order():
    for overrides in ({"f[b]": NORMAL, "f": Prior("Flat")}, {"f": Prior("Flat"), "f[b]": NORMAL}):
        assert changed(overrides) == {"f[b]": NORMAL, "f[c]": Prior("Flat")}


def test_a_prior_of_bambi_on_a_group_sd():
    bambi = SimpleNamespace(name="HalfNormal", args={"sigma": np.array(3.0)})
    assert changed({"1|g_sigma": bambi}) == {"1|g_sigma": HALF}


def test_the_nested_form_is_centred_at_zero():
    inner = SimpleNamespace(name="HalfNormal", args={"sigma": np.array(3.0)})
    for value in (SimpleNamespace(name="Normal", args={"mu": np.array(5.0), "sigma": inner}), HALF):
        with pytest.raises(PriorError, match=r"'1\|g' must be Normal\(mu=0, .*; or name the group sd, '1\|g_sigma'"):
            changed({"1|g": value})


def test_presets_copy():
    assert copy.deepcopy(load_preset("brms")) == load_preset("brms")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("eta = 2", "eta = " + "9" * 400, r"\[group_correlation\] LKJ: eta must be finite"),
        ("eta = 2", "eta = " + "9" * 5000, "has 5006 characters; the most is 2000"),
        ('"mean_y"', '["mean_y"]', r"\[intercept\] Normal: mu: unknown rule \['mean_y'\]"),
        ('"mean_y"', '"sd_y_over_sd_x"', r"\[intercept\] mu: the rule 'sd_y_over_sd_x' .* it is for \[slope\]"),
        ("version = 1", "version = [1]", r"version must be a whole number from 1; found \[1\]"),
    ],
)
def test_odd_values_in_a_file(preset_file, old, new, message):
    path = preset_file(old, new)
    with pytest.raises(PriorError, match=message):
        load_preset(path)


def test_links_have_roles(preset_file):
    path = preset_file(add="\n[link.logit.slop]\ndistribution = 'Flat'\n")
    with pytest.raises(PriorError, match=r"\[link.logit.slop\] is not a role; did you mean 'slope'"):
        load_preset(path)


# Resolved on the bundled data.


def of_model(formula: str, data: str, priors: str) -> dict:
    """Priors by parameter, as a model of the bundled data has them."""
    specification = Model(formula, load_dataset(data), priors=priors).specification
    return {row.parameter: row.prior for row in specification.resolved}


@pytest.mark.parametrize(
    ("formula", "data", "location", "scale"),
    [
        # prior_summary of brms 2.18.0, see tests/reference/README.md
        ("bounce_time ~ std_age + (std_age | county)", "bounce_rates", 202.6, 14.3),
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", 288.7, 59.3),
        ("log_radon ~ floor + log_uranium + (floor | county)", "radon", 1.3, 2.5),
        ("Yield ~ 1 + (1 | Batch)", "dyestuff2", 5.4, 4.2),
    ],
)
def test_a_model_has_the_priors_of_brms(formula, data, location, scale):
    found = of_model(formula, data, "brms")
    assert found.pop("Intercept") == Prior("StudentT", nu=3, mu=location, sigma=scale)
    half_t = Prior("HalfStudentT", nu=3, sigma=scale)
    for parameter, prior in found.items():
        if parameter.endswith("sigma"):
            assert prior == half_t
        else:
            assert prior == (Prior("LKJ", eta=1) if parameter.startswith("corr|") else Prior("Flat"))


def test_a_model_has_the_weakly_informative_priors_of_its_data():
    data = load_dataset("sleepstudy")
    found = of_model("Reaction ~ Days + (Days | Subject)", "sleepstudy", "weakly_informative")
    sd_y, sd_x = data["Reaction"].std(), data["Days"].std()
    within = (data["Days"] - data.groupby("Subject", observed=True)["Days"].transform("mean")).pow(2).sum()
    sd_within = np.sqrt(within / (len(data) - data["Subject"].nunique()))
    expected = {
        "Intercept": {"mu": data["Reaction"].mean(), "sigma": 2.5 * sd_y},
        "Days": {"mu": 0, "sigma": 2.5 * sd_y / sd_x},
        "sigma": {"lam": 1 / sd_y},
        "1|Subject_sigma": {"sigma": sd_y},
        "Days|Subject_sigma": {"sigma": sd_y / sd_within},
        "corr|Subject": {"eta": 2},
    }
    assert set(found) == set(expected)
    for parameter, numbers in expected.items():
        assert set(found[parameter].params) == set(numbers)
        for name, value in numbers.items():
            np.testing.assert_allclose(found[parameter].params[name], value, rtol=DATA_RTOL)


@pytest.mark.parametrize("name", ["article_2020_foundations", "article_2020_lmm"])
def test_a_model_has_the_numbers_of_an_article_as_they_stand(name):
    found = of_model("bounce_time ~ std_age + (std_age | county)", "bounce_rates", name)
    roles = load_preset(name).roles
    assert found == {
        "Intercept": roles["intercept"],
        "std_age": roles["slope"],
        "sigma": roles["residual_sd"],
        "1|county_sigma": roles["group_sd_intercept"],
        "std_age|county_sigma": roles["group_sd_slope"],
        "corr|county": roles["group_correlation"],
    }


def test_a_prior_of_bambi_itself_is_read():
    bambi = pytest.importorskip("bambi")
    nested = bambi.Prior("Normal", mu=0, sigma=bambi.Prior("HalfNormal", sigma=3))
    assert changed({"x": bambi.Prior("Normal", mu=7, sigma=3), "1|g": nested}) == {"x": NORMAL, "1|g_sigma": HALF}
