"""The documentation site: `uv run sphinx-build -nW --keep-going -c docs . build/docs`.

Its root is the repository, so that links between README, docs, notebooks and priors mean the same here and in an
editor. Nothing is asked of a network, neither by the build nor by the pages. Notebooks are stored without outputs, and
run when their pages are made; an error in one of them stops the build.
"""

import sys
from importlib import import_module
from pathlib import Path

from docutils.nodes import Element
from myst_parser.parsers.sphinx_ import MystParser

import poolwise
from poolwise import errors

sys.path.insert(0, str(Path(__file__).parent))
from _notebooks import as_markdown

project = "poolwise"
author = "The poolwise authors"
copyright = author
version = release = poolwise.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "notebooks/*.ipynb",
    "priors/README.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = ["docs/_*", ".*", "build", "src", "tests", "benchmarks"]

html_theme = "furo"
html_title = "poolwise"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": False}
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_heading_anchors = 4
# A prime of a formula, X'y, is no quotation mark.
smartquotes_action = "D"
# A fence of a formula or of output has no language.
highlight_language = "none"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": True}
napoleon_google_docstring = False
# "Parameters" name types in words ("array of shape (J, q)"); what is written as a role is held.
napoleon_use_rtype = False
napoleon_use_ivar = True
nitpick_ignore_regex = [("py:class", r"(?!poolwise).*")]


class NotebookParser(MystParser):
    """A notebook as the Markdown of its cells and of their outputs."""

    supported = ("notebook",)

    def parse(self, inputstring, document):
        """Run the cells and parse what comes of it."""
        name = document.settings.env.docname.rsplit("/")[-1]
        super().parse(as_markdown(inputstring, name), document)


def code_behind(app, env, node: Element, shown: Element) -> Element | None:
    """Link errors by their bare names; let what is not public, or another package's, stand as text if it is there.

    A name that cannot be imported stays unresolved: a warning, and so an error.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if hasattr(errors, target):
        domain = env.domains.python_domain
        return domain.resolve_xref(env, node["refdoc"], app.builder, "exc", f"poolwise.errors.{target}", node, shown)
    module, _, name = target.rpartition(".")
    try:
        return shown if module and hasattr(import_module(module), name) else None
    except ImportError:
        return None


def setup(app):
    """Teach Sphinx notebooks, and where names lead."""
    app.add_source_parser(NotebookParser)
    app.connect("missing-reference", code_behind)
    return {"parallel_read_safe": True}
