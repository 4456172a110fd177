"""The documentation site builds without a warning, is whole, and asks nothing of a network.

The build checks every link between pages and to headings, and every name that a docstring refers to.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import poolwise as pw
from poolwise.check.settings import CODES

ROOT = Path(__file__).parents[1]
MODULES = ("checks", "plots", "validate")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `docs/conf.py` says, from this source."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-nW", "-q", "-E", "--keep-going", "-c", "docs", ".", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_every_page_and_notebook(site):
    pages = {page.relative_to(site).with_suffix("").as_posix() for page in site.rglob("*.html")}
    for path in [
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
    ]:
        assert path.relative_to(ROOT).with_suffix("").as_posix() in pages
    findings = (site / "docs/howto/findings.html").read_text()
    for code in CODES:
        assert f'id="{code.replace("_", "-")}"' in findings


def test_the_reference_has_every_public_name(site):
    shown = set(re.findall(r'<dt class="sig[^"]*" id="([\w.]+)"', "".join(map(Path.read_text, site.rglob("*.html")))))
    names = [name for name in pw.__all__ if name not in (*MODULES, "__version__")]
    missing = [name for name in names if not {f"poolwise.{name}", f"poolwise.errors.{name}"} & shown]
    for module in MODULES:
        # What is public twice, pw.Finding and pw.checks.Finding, is shown once.
        inside = getattr(pw, module).__all__
        missing += [name for name in inside if not {f"poolwise.{name}", f"poolwise.{module}.{name}"} & shown]
    assert not missing
    for method in ("Model.fit", "BayesFit.predict", "BayesFit.check", "FrequentistFit.confint", "PoolingStudy.report"):
        assert f"poolwise.{method}" in shown


def test_pages_ask_nothing_of_a_network(site):
    """Scripts, styles, pictures and fonts come from the site itself."""
    tags = r"<(?:script|img|iframe|source|video|audio|link)\b[^>]*>"
    for page in site.rglob("*.html"):
        for tag in re.findall(tags, page.read_text()):
            address = re.search(r'\s(?:src|href)="([^"]*)"', tag)
            assert address is None or not re.match(r"(\w+:)?//", address[1]), f"{page.name}: {tag}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import\s+|url\()['\"]?(https?:)?//", style.read_text()), style.name
