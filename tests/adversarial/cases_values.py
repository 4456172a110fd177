"""Values: missing, infinite, constant, extreme, outside the family's support."""

import numpy as np
import pandas as pd
from hostile import FORMULA, Case, setting, table

MISSING = [
    Case(
        f"{value!r} in {column}",
        lambda c=column, v=value: setting(c, v, 4, 7),
        refused=(repr(column), "missing", "4, 7"),
    )
    for column in ("y", "x")
    for value in (np.nan,)
] + [
    Case("None in the group", lambda: table(g=[None, *table().g[1:]]), refused=("'g'", "missing", "row 0")),
    Case(
        "pd.NA in a nullable predictor",
        lambda: table(x=pd.array([pd.NA, *table().x[1:]], dtype="Float64")),
        refused=("'x'", "missing", "row 0"),
    ),
    Case("NaT among numbers", lambda: table(x=[pd.NaT, *table().x[1:]]), refused=("'x'",), csv=False),
    Case("masked to nothing", lambda: table(x=np.nan), refused=("'x'", "missing values only")),
    Case(
        "missing everywhere, dropped",
        lambda: table(x=np.nan),
        options={"missing": "drop"},
        refused=("no row is complete",),
    ),
    Case(
        "missing weights",
        lambda: setting("w", np.nan, 2),
        options={"weights": "w"},
        refused=("'w'", "missing", "row 2"),
        csv=False,
    ),
    Case("missing in a column not used", lambda: setting("z", np.nan, 2), twin=(FORMULA, table)),
    Case(
        "missing dropped",
        lambda: setting("x", np.nan, 0, 9),
        options={"missing": "drop"},
        twin=(FORMULA, lambda: table().drop([0, 9])),
        says=("dropped", "2 miss 'x'"),
    ),
    Case(
        "missing dropped, a whole group with it",
        lambda: setting("y", np.nan, *range(6)),
        options={"missing": "drop"},
        twin=(FORMULA, lambda: table().iloc[6:]),
        says=("dropped", "6 miss 'y'", "a"),
    ),
    Case(
        "missing drops to one group",
        lambda: setting("y", np.nan, *range(6, 48)),
        options={"missing": "drop"},
        refused=("'g'", "one group only"),
    ),
    Case("missing= not known", options={"missing": "ignore"}, refused=("'ignore'", "drop"), csv=False),
]
INFINITE = [
    Case(
        f"{value} in {column}", lambda c=column, v=value: setting(c, v, 5), refused=(repr(column), "infinite", "row 5")
    )
    for column in ("y", "x")
    for value in (np.inf, -np.inf)
] + [
    Case(
        "infinite weights",
        lambda: setting("w", np.inf, 5),
        options={"weights": "w"},
        refused=("'w'", "infinite"),
        csv=False,
    ),
    Case("infinite offset", lambda: setting("z", np.inf, 5), "y ~ x + offset(z) + (1|g)", refused=("'z'", "infinite")),
    Case(
        "infinite predictor of a block", lambda: setting("z", np.inf, 5), "y ~ x + (z|g)", refused=("'z'", "infinite")
    ),
    Case(
        "log of zero",
        lambda: setting("x", 0.0, 5).assign(x=lambda t: t.x.abs()),
        "y ~ log(x) + (1|g)",
        refused=("log(x)", "row 5"),
    ),
    Case("sqrt of negatives", table, "y ~ sqrt(x) + (1|g)", refused=("sqrt(x)", "not finite")),
    Case("exp overflows", lambda: table(x=np.arange(48.0) * 100), "y ~ exp(x) + (1|g)", refused=("exp(x)",)),
    Case("log of a negative response", lambda: table(y=table().y - 2), "log(y) ~ x + (1|g)", refused=("log(y)",)),
    Case("division by zero", lambda: setting("z", 0.0, 1), "y ~ I(x / z) + (1|g)", refused=("row 1",)),
]
CONSTANT = [
    Case("constant predictor", lambda: table(x=3), refused=("'x'", "intercept")),
    Case("constant response", lambda: table(y=3.5), refused=("'y'", "nothing to model")),
    Case("constant but for rounding", lambda: table(x=0.1 + 1e-17 * np.arange(48)), refused=("'x'",)),
    Case("constant predictor of a block", lambda: table(z=1.0), "y ~ x + (z|g)", refused=("'z'",)),
    Case("collinear", lambda: table().assign(z=lambda t: 2 * t.x + 1), "y ~ x + z + (1|g)", refused=("z", "x")),
    Case(
        "a predictor twice under two names",
        lambda: table().assign(z=lambda t: t.x),
        "y ~ x + z + (1|g)",
        refused=("z", "x"),
    ),
    Case(
        "dummies of every level beside the intercept",
        lambda: table().assign(
            a=lambda t: (t.f == "low") * 1, b=lambda t: (t.f == "mid") * 1, c=lambda t: (t.f == "top") * 1
        ),
        "y ~ a + b + c + (1|g)",
        refused=("a", "b", "c"),
    ),
    Case(
        "a predictor constant within every group",
        lambda: table().assign(x=lambda t: t.g.map(ord) * 1.0),
        "y ~ x + (1|g)",
        twin=("y ~ k + (1|g)", lambda: table().assign(k=lambda t: t.g.map(ord) - 97.0)),
        scale={"Intercept": "any"},
        rename={"x": "k"},
    ),
]
SUPPORT = [
    Case(
        "fractions as counts",
        lambda: table(),
        "w ~ x + (1|g)",
        options={"family": "poisson"},
        refused=("poisson", "whole numbers"),
    ),
    Case(
        "negative counts",
        lambda: table(count=table()["count"] - 3),
        "count ~ x + (1|g)",
        options={"family": "poisson"},
        refused=("poisson", "-"),
    ),
    Case("text response of Bernoulli", table, "f ~ x + (1|g)", options={"family": "bernoulli"}, refused=("'f'",)),
    Case(
        "2 in a Bernoulli response",
        lambda: setting("event", 2, 0),
        "event ~ x + (1|g)",
        options={"family": "bernoulli"},
        refused=("bernoulli", "2"),
    ),
    Case(
        "1 and 2 as events",
        lambda: table(event=table()["event"] + 1),
        "event ~ x + (1|g)",
        options={"family": "bernoulli"},
        refused=("bernoulli", "0 and 1"),
    ),
    Case(
        "no event", lambda: table(event=0), "event ~ x + (1|g)", options={"family": "bernoulli"}, refused=("'event'",)
    ),
    Case(
        "zero in a gamma response",
        lambda: setting("w", 0.0, 7),
        "w ~ x + (1|g)",
        options={"family": "gamma"},
        refused=("gamma", "positive", "row 7"),
    ),
    Case(
        "one in a beta response",
        lambda: table(y=np.linspace(0.1, 1.0, 48)),
        "y ~ x + (1|g)",
        options={"family": "beta"},
        refused=("beta", "between 0 and 1"),
    ),
    Case(
        "more successes than trials",
        lambda: table(trials=0),
        "p(event, trials) ~ x + (1|g)",
        options={"family": "binomial"},
        refused=("trials",),
    ),
    Case(
        "successes and trials swapped",
        table,
        "p(trials, event) ~ x + (1|g)",
        options={"family": "binomial"},
        refused=("trials",),
    ),
    Case("binomial without trials", table, "event ~ x + (1|g)", options={"family": "binomial"}, refused=("p(",)),
    Case("unknown family", table, options={"family": "gausian"}, refused=("'gausian'", "gaussian")),
    Case("unknown link", table, options={"link": "logitt"}, refused=("logitt",)),
    Case(
        "all counts zero",
        lambda: table(count=0),
        "count ~ x + (1|g)",
        options={"family": "poisson"},
        refused=("'count'",),
    ),
]
SCALES = (
    [
        Case(
            f"y times {unit:g}",
            lambda u=unit: table(y=table().y * u),
            twin=(FORMULA, table),
            scale={"Intercept": (0, unit), "x": (0, unit), "sd": (0, unit)},
        )
        for unit in (1e12, 1e-12, 1e100, 1e-100)
    ]
    + [
        Case(
            f"x times {unit:g}",
            lambda u=unit: table(x=table().x * u),
            twin=(FORMULA, table),
            scale={"x": (0, 1 / unit)},
        )
        for unit in (1e12, 1e-12)
    ]
    + [
        Case(
            "y far from zero",
            lambda: table(y=table().y + 1e8),
            twin=(FORMULA, table),
            scale={"Intercept": (1e8, 1)},
            rtol=1e-4,
        ),
        Case(
            "x at 1e9 + N(0, 1)",
            lambda: table(x=table().x + 1e9),
            "y ~ x + (1|g)",
            twin=("y ~ x + (1|g)", table),
            scale={"Intercept": "any"},
            rtol=1e-3,
        ),
        Case(
            "x at 1e9 + N(0, 1), slopes vary",
            lambda: table(x=table().x + 1e9),
            "y ~ x + (x|g)",
            twin=("y ~ x + (x|g)", table),
            scale={"Intercept": "any", "sd": "any"},
            rtol=1e-3,
        ),
        Case("y times 1e200", lambda: table(y=table().y * 1e200), refused=("'y'", "unit")),
        Case("x at 1e-200", lambda: table(x=table().x * 1e-200), refused=("'x'", "unit")),
        Case("denormal response", lambda: table(y=table().y * 1e-310), refused=("'y'", "unit")),
        Case("largest doubles", lambda: setting("x", 1.7e308, 5), refused=("'x'", "unit")),
        Case(
            "one value at 1e130",
            lambda: setting("x", 1e130, 5),
            twin=(FORMULA, lambda: table(x=np.eye(48)[5])),
            scale={"x": (0, 1e-130)},
        ),
        Case(
            "scales 1e12 and 1e-12 together",
            lambda: table(x=table().x * 1e12, z=table().z * 1e-12),
            "y ~ x + z + (1|g)",
            twin=("y ~ x + z + (1|g)", table),
            scale={"x": (0, 1e-12), "z": (0, 1e12)},
        ),
        Case(
            "a year, squared",
            lambda: table(x=2000.0 + np.arange(48) % 12),
            "y ~ x + I(x**2) + (1|g)",
            twin=("y ~ t + I(t**2) + (1|g)", lambda: table(t=np.arange(48) % 12 - 5.0)),
            scale={"Intercept": "any", "x": "any"},
            rename={"x": "t", "I(x ** 2)": "I(t ** 2)"},
            rtol=1e-3,
        ),
    ]
)
SEPARATION = [
    Case(
        "separation",
        lambda: table().assign(event=lambda t: (t.x > 0) * 1),
        "event ~ x + (1|g)",
        options={"family": "bernoulli"},
        warns=("x", "finite"),
    ),
    Case(
        "a level without events",
        lambda: table().assign(event=lambda t: t.event.where(t.f != "low", 0)),
        "event ~ f + (1|g)",
        options={"family": "bernoulli"},
        warns=("f",),
    ),
    Case("y equal to a predictor", lambda: table().assign(x=lambda t: t.y), refused=("exact",), at="reml"),
    Case(
        "y equal to its group's mean",
        lambda: table().assign(y=lambda t: t.groupby("g").y.transform("mean")),
        "y ~ 1 + (1|g)",
        refused=("residual",),
        at="reml",
    ),
]
CASES = [*MISSING, *INFINITE, *CONSTANT, *SUPPORT, *SCALES, *SEPARATION]
