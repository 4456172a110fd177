"""The page, read by a parser: structure, names, policy, escaping. What needs a browser is in test_report_browser.py."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.errors import ArgumentError, StoreError
from poolwise.report.methods import paragraph, sampling_in_words
from poolwise.report.sections import group_table, question

SECTIONS = [
    "question",
    "findings",
    "data",
    "model",
    "priors",
    "convergence",
    "fits",
    "shrinkage",
    "intervals",
    "predictive",
    "sensitivity",
    "methods",
    "versions",
]
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Reader(HTMLParser):
    """Every element with its attributes and text, and whether the tags close in order."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open, [element["tag"] for element in self.open]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        element = {"tag": tag, "text": "", **{f"@{name}": value or "" for name, value in attrs}}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, (tag, self.open[-1:])
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]


@pytest.fixture(scope="module")
def hostile(hostile_page):
    return Reader(hostile_page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(bounce_page):
    return Reader(bounce_page.read_text(encoding="utf-8"))


def test_sections_in_order_and_all_in_the_contents(page):
    ids = [element["@id"] for element in page.all("section")]
    assert ids == SECTIONS
    assert [element["@href"] for element in page.all("a") if element["@href"].startswith("#")][1:] == [
        f"#{name}" for name in SECTIONS
    ]
    everything = [element["@id"] for element in page.elements if "@id" in element]
    assert len(everything) == len(set(everything))


def test_headings_go_down_one_level_at_a_time(page, hostile):
    for one in (page, hostile):
        levels = [int(element["tag"][1]) for element in one.all("h1", "h2", "h3", "h4")]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert all(element["text"].strip() for element in one.all("h1", "h2", "h3"))


def test_tables_have_captions_and_heads_with_a_scope(page):
    tables = page.all("table")
    assert len(tables) >= 10
    assert len(page.all("caption")) == len(tables)
    assert {element["@scope"] for element in page.all("th")} == {"col", "row"}


def test_pictures_have_words_and_controls_have_labels(page):
    pictures = page.all("img")
    assert len(pictures) >= 9
    for picture in pictures:
        assert len(picture["@alt"]) > 30 and picture["@src"].startswith("data:image/png;base64,")
        assert int(picture["@width"]) > 100 and int(picture["@height"]) > 100
    assert all("@aria-hidden" in svg or len(svg["@aria-label"]) > 30 for svg in page.all("svg"))
    assert page.all("html")[0]["@lang"] == "en"
    assert len(page.all("label")) == len(page.all("input")) > 0
    assert all(element["@aria-label"] for element in page.elements if element.get("@role") == "region")


def test_nothing_leaves_the_file(page, hostile):
    for one in (page, hostile):
        for element in one.elements:
            for name in ("@src", "@href", "@srcset", "@action", "@data", "@poster", "@xlink:href"):
                address = element.get(name, "data:")
                assert address.startswith(("data:", "#")), (element["tag"], name, address[:80])
            assert not any(name.startswith("@on") or name == "@style" for name in element), element
        assert not one.all("iframe", "object", "embed", "base", "form")
        assert "url(" not in one.all("style")[0]["text"] and "@import" not in one.all("style")[0]["text"]


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(hostile_page, hostile):
    (policy,) = [one["@content"] for one in hostile.all("meta") if "@http-equiv" in one]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'" and rules["img-src"] == "data:"
    assert set(rules) == {"default-src", "base-uri", "form-action", "img-src", "style-src", "script-src"}
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (element,) = hostile.all(tag)
        digest = base64.b64encode(hashlib.sha256(element["text"].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_hostile_names_appear_as_text(hostile_page, hostile):
    text = hostile_page.read_text(encoding="utf-8")
    assert (
        "<script>alert" not in text and "onerror=alert(2)>" not in text.replace("&gt;", "") and "<b>g</b>" not in text
    )
    heads = [element["text"] for element in hostile.all("th") if element["@scope"] == "row"]
    assert "<script>alert(1)</script>" in heads and "\"quoted\" & 'single'" in heads and "東京都" in heads
    assert "{{ 7 * 7 }} {% raw %}" in heads and "49" not in heads
    # A control character is seen; a long name is cut, which is said.
    assert any("\N{REPLACEMENT CHARACTER}" in head for head in heads)
    assert any(head.startswith("long long") and "(10,000 characters)" in head for head in heads)
    assert max(map(len, heads)) < 200
    assert "`x<img src=x onerror=alert(3)>`" in hostile.all("code")[0]["text"]


def test_tables_are_files_too(page, bounce_study):
    files = {element["@download"]: element["@href"] for element in page.all("a") if "@download" in element}
    assert {"shrinkage.csv", "shrinkage.md", "shrinkage.tex", "fits.csv", "priors.csv", "coef.csv"} <= set(files)
    head, rows = unquote(files["shrinkage.csv"]).split(",", 1)[1].split("\n", 1)
    assert head.split(",")[:3] == ["group", "term", "n"] and rows.count("\n") == 16
    # Full precision, and every row of the frame.
    kent = next(row for row in rows.splitlines() if row.startswith("kent,std_age"))
    expected = bounce_study.shrinkage().set_index(["group", "term"]).loc[("kent", "std_age"), "partial_bayes"]
    assert repr(float(expected)) in kent


def test_the_numbers_are_the_studys(page, bounce_study):
    cells = [element["text"] for element in page.all("td")]
    assert "14.09" in cells and f"{bounce_study.elpd:.0f}" in cells
    said = " ".join(element["text"] for element in page.all("article"))
    assert all(finding.title in said for finding in bounce_study.findings)
    methods = next(element["text"] for element in page.all("section") if element["@id"] == "methods")
    assert "seed 20" in methods and "613 rows" in methods and "Bates" in methods and pw.__version__ in methods
    versions = next(element["text"] for element in page.all("section") if element["@id"] == "versions")
    assert "SHA-256" in versions and "numpy" in versions


def test_size_and_time(bounce_page, bounce_study, tmp_path):
    assert bounce_page.stat().st_size < 3e6
    # The same study, the same page.
    assert bounce_study.report(tmp_path / "again.html").read_bytes() == bounce_page.read_bytes()


def test_text_reads_on_its_ground(page):
    """WCAG 2.1, 1.4.3: at least 4.5 to 1, light and dark and printed."""
    style = page.all("style")[0]["text"]
    schemes = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", body)) for body in re.findall(r":root \{([^}]*)\}", style)
    ]
    assert len(schemes) == 3
    inks = ("ink", "soft", "link", "serious", "warning", "note")
    for scheme in schemes:
        for ground in ("paper", "band"):
            for ink in inks:
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground, scheme[ink])
        assert contrast(scheme["ink"], scheme["on"]) >= 4.5
        # Graphics: at least 3 to 1 (1.4.11).
        for mark in ("separate", "total", "conditional", "bayes"):
            assert contrast(scheme[mark], scheme["paper"]) >= 3, mark


def contrast(one: str, other: str) -> float:
    """Ratio of relative luminances, WCAG 2.1."""

    def luminance(color: str) -> float:
        parts = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_report_of_a_fit_of_several_factors_and_of_none(tmp_path):
    model = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    fit = model.fit(seed=1, draws=500, progress=False)
    page = Reader(fit.report(tmp_path / "fit.html").read_text(encoding="utf-8"))
    ids = [element["@id"] for element in page.all("section")]
    assert ids == [*SECTIONS[:6], "groups", *SECTIONS[9:]]
    alone = pw.Model("Reaction ~ Days", pw.load_dataset("sleepstudy")).fit(seed=1, draws=500, progress=False)
    page = Reader(alone.report(tmp_path / "alone.html").read_text(encoding="utf-8"))
    assert "The model has no groups." in [element["text"] for element in page.all("p")]


FREQUENTIST = ["question", "findings", "data", "model", "estimates", "groups", "methods", "versions"]


@pytest.mark.parametrize(
    ("formula", "data", "family"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", "gaussian"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin", "gaussian"),
        ("p(incidence, size) ~ period + (1 | herd)", "cbpp", "binomial"),
    ],
)
def test_a_report_of_a_frequentist_fit(tmp_path, formula, data, family):
    fit = pw.Model(formula, pw.load_dataset(data), family).fit_frequentist()
    text = fit.report(tmp_path / "fit.html").read_text(encoding="utf-8")
    page = Reader(text)
    assert [element["@id"] for element in page.all("section")] == FREQUENTIST
    assert "Not available here" not in text
    cells = [element["text"].strip() for element in page.all("td", "th")]
    assert ("lower 95 %" in cells) and (len(fit.coef()) < len(page.all("tr")))
    # The first common effect, as the table of the fit has it.
    assert any(cell == f"{fit.fixef.iloc[0]:.{len(cell.split('.')[1])}f}" for cell in cells if cell.count(".") == 1)


def test_a_frequentist_report_of_no_groups(tmp_path):
    fit = pw.Model("Reaction ~ Days", pw.load_dataset("sleepstudy")).fit_frequentist()
    page = Reader(fit.report(tmp_path / "fit.html").read_text(encoding="utf-8"))
    assert [element["@id"] for element in page.all("section")] == [name for name in FREQUENTIST if name != "groups"]


def test_what_was_done_is_said_in_words_of_the_field(tmp_path):
    data = pw.load_dataset("sleepstudy").head(60).assign(Days=lambda table: table["Days"].astype(float))
    data.loc[[3, 7], "Days"] = np.nan
    model = pw.Model("Reaction ~ Days + (Days | Subject)", data, missing="drop")
    assert "dropped: 2 miss 'Days'" in repr(model)
    fit = model.fit(seed=1, progress=False)
    text = paragraph(fit)[0]
    assert "group-specific effects were integrated out analytically" in text and "door" not in text
    assert question(fit, model).blocks[-1].pairs[4] == ("rows dropped", "2 miss 'Days'")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("whitened form, effects sampled by NUTS; resumed: more", "Laplace .* standard deviations; resumed: more$"),
        ("generative form, effects sampled by NUTS (h non-centred, g centred), as x", "but for those of g, which were"),
        ("generative form, effects sampled by NUTS (g non-centred, h non-centred)", "in non-centred parameterisation$"),
        ("collapsed form, independent draws: variances by importance", "drawn from proposals about the posterior mode"),
    ],
)
def test_each_form_is_said_in_words_of_the_field(form, said):
    factors = [SimpleNamespace(name=name) for name in "gh"]
    fit = SimpleNamespace(form=form, design=SimpleNamespace(all_factors=factors))
    assert re.search(said, sampling_in_words(fit))


def test_many_groups_stay_small(many_page):
    assert many_page.stat().st_size < 8e6
    read = Reader(many_page.read_text(encoding="utf-8"))
    assert any("of 1,200 rows; the CSV file has all" in element["text"] for element in read.all("p"))
    data_file = next(one["@href"] for one in read.all("a") if one.get("@download") == "shrinkage.csv")
    assert unquote(data_file).count("\n") == 1201


def test_a_report_is_written_whole_or_not_at_all(bounce_study, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("earlier")
    with pytest.raises(StoreError, match="no folder"):
        bounce_study.report(tmp_path / "nowhere" / "report.html")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("poolwise.report.write.study_sections", lambda study: [])
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StoreError, match="No space left"):
        bounce_study.report(path)
    assert path.read_text() == "earlier" and [one.name for one in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ArgumentError, match="a pooling study or of a fit"):
        pw.write_report(bounce_study.model, path)


def test_rows_of_several_groups_count_in_each():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=30), "g": list("abc") * 10, "h": list("bca") * 10})
    model = pw.Model("y ~ 1 + (1 | mm(g, h))", data)
    table = group_table(model.design, model.design.factors[0]).set_index("group")
    assert table["n"].tolist() == [20, 20, 20]
    of_a = data.loc[(data["g"] == "a") | (data["h"] == "a"), "y"]
    assert table.loc["a", "mean"] == pytest.approx(of_a.mean()) and table.loc["a", "sd"] == pytest.approx(of_a.std())
