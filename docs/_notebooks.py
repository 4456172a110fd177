"""Notebooks as pages: their cells as Markdown, each with what it prints and shows when the site is built."""

import ast
import base64
import contextlib
import io
import json
import os
import tempfile
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def as_markdown(text: str, name: str) -> str:
    """A notebook as Markdown, run from top to bottom in a folder of its own; an error of a cell stops the build.

    Parameters
    ----------
    text : str
        Content of the .ipynb file.
    name : str
        Its name, for tracebacks and for the link to it.
    """
    here = f"Run when this page was made. The notebook itself: {{download}}`{name}.ipynb`."
    parts, namespace = [], {"__name__": "__main__"}
    plt.switch_backend("agg")
    with tempfile.TemporaryDirectory() as folder, _inside(folder):
        for number, cell in enumerate(json.loads(text)["cells"]):
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                parts.append(source)
            else:
                parts.append(f"```python\n{source}\n```")
                parts += _outputs(source, namespace, f"{name}, cell {number}")
    return "\n\n".join([parts[0], here, *parts[1:]])


@contextlib.contextmanager
def _inside(folder: str):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _outputs(source: str, namespace: dict, where: str) -> list[str]:
    """What a cell prints, and its last expression as a kernel would show it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, shown = io.StringIO(), None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(tree, where, "exec"), namespace)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), where, "eval"), namespace)
    found = [f"<pre>{escape(printed.getvalue())}</pre>"] if printed.getvalue() else []
    if shown is not None and not source.rstrip().endswith(";"):
        found.append(_as_html(shown))
    # Figures of pyplot show themselves when their cell has ended.
    found += [_as_html(figure) for figure in map(plt.figure, plt.get_fignums()) if figure is not shown]
    plt.close("all")
    return [f'```{{raw}} html\n<div class="output">{part}</div>\n```' for part in found]


def _as_html(shown: object) -> str:
    if isinstance(shown, Figure):
        file = io.BytesIO()
        shown.savefig(file, format="png", dpi=110)
        return f'<img alt="figure" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    html = getattr(shown, "_repr_html_", lambda: None)()
    return html or f"<pre>{escape(repr(shown))}</pre>"
