"""Names of columns, labels of groups and levels, formulas, priors and weights."""

import numpy as np
from hostile import FORMULA, Case, table

import poolwise as pw

HTML = "<img src=x onerror=alert(1)>"
ODD_NAMES = [
    "my var",
    "a.b",
    "sigma",
    "Intercept",
    "1|g",
    "1|g_sigma",
    "chain",
    "draw",
    "__obs__",
    "__class__",
    "class",
    "lambda",
    "None",
    "True",
    "C",
    "log",
    "I",
    "np",
    "x:z",
    "x + z",
    "x*z",
    "(x|g)",
    "~",
    "y ~ x",
    "'",
    '"',
    "<b>",
    HTML,
    "a/b",
    "µ",
    "μ",
    "é",
    "数",
    "🙂",
    "x\ty",
    "x\ny",
    " x",
    "x,z",
    "x[1]",
    "{x}",
    "%s",
    "\\",
    "$x",
    "0",
    "1e3",
    "mu",
    "index",
    "g_dim",
    "Intercept[1]",
    "offset",
    "corr|g",
    "lp",
    "y_mean",
    "alpha",
    "beta",
    "x" * 300,
]

# Those that the posterior needs for itself get an alias, which the description of the model states.
OURS = ("sigma", "Intercept", "1|g", "1|g_sigma", "chain", "draw", "__obs__", "mu", "corr|g")


def named(name: str) -> Case:
    return Case(
        f"predictor {name[:30]!r}",
        lambda: table().rename(columns={"x": name}),
        f"y ~ `{name}` + z + (1|g)" if name == "Intercept" else f"y ~ `{name}` + z + (`{name}`|g)",
        twin=("y ~ x + z + (1|g)" if name == "Intercept" else "y ~ x + z + (x|g)", table),
        rename={f"{name}_predictor" if name in OURS else name: "x"},
        says=("alias", f"{name}_predictor") if name in OURS else (),
    )


ODD_LABELS = {
    "separators": ["a/b", "a:b", "a|b", "a", "b", "a,b", "a b", "(a)"],
    "numbers": ["1", "01", "1.0", "1e0", "2", "-1", "0x1", "١"],
    "NaN-like text": ["nan", "None", "", "NA", "NaN", "null", "inf", "<NA>"],
    "HTML": [HTML, "<svg onload=alert(1)>", "&amp;", "&", "'", '"', "<", "</pre>"],
    "unicode": ["µ", "μ", "é", "e\u0301", "🙂", "\u202e", "\u200b", "数"],
    "quotes and blanks": ["`a`", "'a'", '"a"', " a", "a ", "a", "\t", "\n"],
    "names of ours": ["Intercept", "sigma", "new", "observed", "chain", "draw", "g", "mean"],
    "long": ["a" * 5000 + str(k) for k in range(8)],
}


def labelled(what: str, labels: list[str]) -> Case:
    return Case(
        f"labels: {what}",
        lambda: table(g=np.array(labels, dtype=object)[np.repeat(np.arange(8), 6)]),
        "y ~ x + (x|g)",
        twin=("y ~ x + (x|g)", table),
        csv=what not in ("numbers", "NaN-like text"),
    )


def cells(first: list[str], second: list[str]):
    """Labels of two factors of four and two levels whose joined texts coincide."""
    k = np.repeat(np.arange(8), 6)
    return lambda: table(a=np.array(first)[k // 2], b=np.array(second)[k % 2])


NAMES = [
    *map(named, ODD_NAMES),
    *(labelled(*item) for item in ODD_LABELS.items()),
    Case(
        "a column of the name of the constant in a block",
        lambda: table().rename(columns={"x": "Intercept"}),
        "y ~ z + (Intercept|g)",
        refused=("'Intercept'", "rename"),
    ),
    Case(
        "a response of an odd name",
        lambda: table().rename(columns={"y": "log(y) ~ "}),
        "`log(y) ~ ` ~ x + (1|g)",
        twin=(FORMULA, table),
    ),
    Case(
        "a factor called sigma",
        lambda: table().rename(columns={"g": "sigma"}),
        "y ~ x + (1|sigma)",
        twin=(FORMULA, table),
    ),
    Case(
        "a factor of an odd name",
        lambda: table().rename(columns={"g": "a/b: c|d"}),
        "y ~ x + (x|`a/b: c|d`)",
        twin=("y ~ x + (x|g)", table),
    ),
    Case(
        "two micro signs",
        lambda: table().rename(columns={"x": "µ", "z": "μ"}),
        "y ~ µ + μ + (1|g)",
        twin=("y ~ x + z + (1|g)", table),
        rename={"µ": "x", "μ": "z"},
    ),
    Case(
        "cells whose texts coincide",
        cells(["a", "a:b", "a:b:c", "d"], ["b:c", "c"]),
        "y ~ x + (1|a:b)",
        twin=(FORMULA, table),
    ),
    Case(
        "nested, texts coincide",
        cells(["a", "a:b", "a:b:c", "d"], ["b:c", "c"]),
        "y ~ x + (1|a/b)",
        twin=("y ~ x + (1|a/b)", cells(list("abcd"), list("pq"))),
    ),
    Case(
        "levels whose texts coincide",
        lambda: table(f=table().f.map({"low": "a:b", "mid": "a", "top": "a]"})),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", lambda: table(f=table().f.map({"low": "b", "mid": "a", "top": "c"}))),
        rename={"f[a:b]": "f[b]", "f[a]]": "f[c]"},
    ),
    Case(
        "levels 'nan' and ''",
        lambda: table(f=table().f.map({"low": "", "mid": "nan", "top": "None"})),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", lambda: table(f=table().f.map({"low": "a", "mid": "c", "top": "b"}))),
        rename={"f[nan]": "f[c]", "f[None]": "f[b]"},
        csv=False,
    ),
]

z_of_the_script = np.arange(48.0)
FORMULAS = [
    Case("a bare bar", formula="y ~ x + 1|g", refused=("(1 | g)",)),
    Case("a bare bar of a slope", formula="y ~ x|g", refused=("(x | g)",)),
    Case("the response on the right", formula="y ~ y + x + (1|g)", refused=("response", "'y'")),
    Case("the response inside a function", formula="y ~ log(y) + (1|g)", refused=("response", "'y'")),
    Case("the response as a factor", formula="y ~ x + (1|y)", refused=("response", "'y'")),
    Case("a term twice", formula="y ~ x + x + (1|g)", refused=("twice",)),
    Case("a block twice", formula="y ~ x + (1|g) + (1|g)", refused=("two blocks", "'g'")),
    Case("a variable of the script", formula="y ~ z_of_the_script + (1|g)", refused=("no column 'z_of_the_script'",)),
    Case(
        "a variable of the script in a function",
        formula="y ~ I(x + z_of_the_script) + (1|g)",
        refused=("no column 'z_of_the_script'",),
    ),
    Case("a column missing", formula="y ~ xx + (1|g)", refused=("'xx'", "did you mean 'x'")),
    Case("a factor missing", formula="y ~ x + (1|gg)", refused=("'gg'", "'g'")),
    Case(
        "two columns missing, one constant",
        lambda: table(x=1),
        "y ~ x + aa + bb + (1|g)",
        refused=("3 problems", "'aa'", "'bb'", "'x'"),
    ),
    *(
        Case(f"code: {code}", formula=f"y ~ x + {code} + (1|g)", refused=words)
        for code, words in {
            '__import__("os").system("id")': ("not allowed",),
            "pd.io.common.os.system('id')": ("not allowed",),
            "np.save('f', x)": ("not allowed",),
            "I.__builtins__": ("not allowed",),
            "(lambda: 1)()": (),
            "x.__class__": ("not allowed",),
            "[x for x in y]": ("lists",),
            "{__import__('os')}": ("not allowed",),
            "I(open('f'))": ("open",),
            "eval('x')": ("'eval'",),
            "I(x if x else x)": (),
            "x; import os": ("';'",),
            "exec(x)": ("'exec'",),
            "getattr(x, 'a')": ("'getattr'",),
            "f'{x}'": (),
            "@x": ("'@'",),
        }.items()
    ),
    *(
        Case(f"syntax: {text[:30]!r}", formula=text, refused=("\n",) if len(text) < 10_000 else ("10000",))
        for text in (
            "",
            " ",
            "~",
            "y ~",
            "~ x",
            "y ~ (x",
            "y ~ x)",
            "y ~ x +",
            "y ~ x ~ z",
            "y = x",
            "y",
            "y ~ (1|)",
            "y ~ (|g)",
            "y ~ 5*x",
            "y ~ (x|g",
            "y ~ x z",
            "y ~ `x",
            "y ~ 'x'",
            "y ~ log(x",
            "y ~ C()",
            "y ~ x:",
            "y ~ x**z",
            "y ~ (1|g|h)",
            "y ~ \x00",
            "y ~ x − z",
            "y ~ " + "(" * 3000 + "x" + ")" * 3000,
            "y ~ " + "+".join(f"x{k}" for k in range(3000)),
            "y ~ x" * 500,
        )
    ),
    *(
        Case(f"no text: {formula!r}", formula=formula, refused=("formula", type(formula).__name__), csv=False)
        for formula in (None, 5, {"y": "x"}, b"y ~ x")
    ),
    Case("uncorrelated", formula="y ~ x + (x||g)", twin=("y ~ x + (1|g) + (0 + x|g)", table)),
    Case("crossed with itself", formula="y ~ x + (1|g:h)", refused=("one row",)),
    Case(
        "offset",
        formula="y ~ x + offset(z) + (1|g)",
        twin=("d ~ x + (1|g)", lambda: table().assign(d=lambda t: t.y - t.z)),
    ),
    Case(
        "nothing but groups",
        formula="y ~ 0 + (1|g)",
        twin=("y ~ 0 + (1|g)", lambda: table().sample(frac=1, random_state=1)),
    ),
    Case(
        "the same groups under two names",
        lambda: table(h=table().g),
        "y ~ x + (1|g) + (1|h)",
        refused=("g", "h"),
        at="reml",
    ),
    Case(
        "polynomial of too high a degree",
        lambda: table(x=np.arange(48) % 4),
        "y ~ poly(x, 5) + (1|g)",
        refused=("poly", "degree"),
    ),
    Case("a spline with too few degrees", formula="y ~ bs(x, df=1) + (1|g)", refused=("bs",)),
    Case("scale of a constant", lambda: table(x=2.0), "y ~ scale(x) + (1|g)", refused=("'x'",)),
    Case("a reference that is no level", formula='y ~ C(f, Treatment("none")) + (1|g)', refused=("none", "levels")),
]


def normal(**given) -> dict:
    return {"priors": {"x": pw.Prior("Normal", **given)}}


PRIORS = [
    Case("an unknown preset", options={"priors": "weakly"}, refused=("weakly",)),
    Case("a prior of no parameter", options={"priors": {"xx": {}}}, refused=("xx",), csv=False),
    Case("a prior of the wrong kind", options={"priors": {"x": 3}}, refused=("pw.Prior", "3 (int)"), csv=False),
    Case("a prior that is a list", options={"priors": [1]}, refused=("priors",), csv=False),
]
PRIOR_CALLS = {
    "an unknown argument": (lambda: normal(mu=0, sdd=1), ("sdd", "sigma")),
    "an unknown distribution": (lambda: {"priors": {"x": pw.Prior("Normall", mu=0, sigma=1)}}, ("Normall", "Normal")),
    "a negative sd": (lambda: normal(mu=0, sigma=-1), ("sigma", "-1")),
    "sd zero": (lambda: normal(mu=0, sigma=0), ("sigma", "0")),
    "sd NaN": (lambda: normal(mu=0, sigma=float("nan")), ("sigma",)),
    "mean infinite": (lambda: normal(mu=float("inf"), sigma=1), ("mu",)),
    "text for a number": (lambda: normal(mu="0", sigma=1), ("mu",)),
    "True for a number": (lambda: normal(mu=True, sigma=1), ("mu",)),
    "an array for a number": (lambda: normal(mu=[0.0, 1.0], sigma=1), ("mu",)),
    "an argument missing": (lambda: normal(mu=0), ("sigma",)),
    "a Poisson slope": (lambda: {"priors": {"x": pw.Prior("Poisson", mu=1)}}, ("Poisson",)),
    "a normal sigma": (lambda: {"priors": {"sigma": pw.Prior("Normal", mu=0, sigma=1)}}, ("sigma", "Normal")),
    "a positive slope's prior on the wrong side": (
        lambda: {"priors": {"1|g_sigma": pw.Prior("Normal", mu=0, sigma=1)}},
        ("1|g_sigma",),
    ),
    "a prior for a common effect that is not there": (
        lambda: {"priors": {"z": pw.Prior("Normal", mu=0, sigma=1)}},
        ("z", "x"),
    ),
    "a correlation prior without correlations": (lambda: {"priors": {"corr|g": pw.Prior("LKJ", eta=2)}}, ("corr|g",)),
    "LKJ of eta 0": (lambda: {"priors": {"corr|g": pw.Prior("LKJ", eta=0)}}, ("eta",)),
}
WEIGHTS = [
    Case(
        "weight zero",
        lambda: table(w=np.r_[0.0, np.ones(47)]),
        options={"weights": "w"},
        refused=("'w'", "zero or negative", "row 0"),
        csv=False,
    ),
    Case(
        "weight negative",
        lambda: table(w=np.r_[-1.0, np.ones(47)]),
        options={"weights": "w"},
        refused=("'w'", "zero or negative"),
        csv=False,
    ),
    Case("weights as text", options={"weights": "f"}, refused=("'f'", "text"), csv=False),
    Case("weights not there", options={"weights": "ww"}, refused=("'ww'",), csv=False),
    Case(
        "weights as an array",
        options={"weights": np.ones(48)},
        refused=("weights", "name of a column", "ndarray"),
        csv=False,
    ),
    Case(
        "weights twice", formula="weighted(y, w) ~ x + (1|g)", options={"weights": "w"}, refused=("twice",), csv=False
    ),
    Case(
        "weights times 1e9",
        lambda: table(w=table().w * 1e9),
        options={"weights": "w"},
        twin=("y ~ x + (1|g)", table),
        rtol=np.inf,
        csv=False,
    ),
    Case("bool weights", lambda: table(w=True), options={"weights": "w"}, twin=(FORMULA, table), csv=False),
    Case(
        "frequencies are rows",
        lambda: table(w=np.arange(48) % 3 + 1),
        "weighted(y, w) ~ x + (1|g)",
        twin=(FORMULA, lambda: table().loc[lambda t: t.index.repeat(np.arange(48) % 3 + 1)]),
    ),
    Case("frequencies that are fractions", formula="weighted(y, w) ~ x + (1|g)", twin=(FORMULA, table), rtol=np.inf),
]
CASES = [*NAMES, *FORMULAS, *PRIORS, *WEIGHTS]
