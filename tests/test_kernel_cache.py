"""Cached kernels do not outlive the sources they were compiled from."""

import os
import subprocess
import sys
import textwrap

from poolwise.kernel_cache import drop_stale_kernels


def test_caches_older_than_the_newest_source_go(tmp_path):
    for folder, names in {
        "algebra": ["one.py", "two.py"],
        "algebra/__pycache__": ["a.nbi", "b.nbi", "a.1.nbc"],
    }.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / folder / name).touch()
    cache = tmp_path / "algebra" / "__pycache__"
    times = {"one.py": 10, "two.py": 20, "__pycache__/a.nbi": 15, "__pycache__/b.nbi": 25}
    for name, at in times.items():
        os.utime(tmp_path / "algebra" / name, (at, at))
    assert drop_stale_kernels(tmp_path) == 1
    assert sorted(path.name for path in cache.iterdir()) == ["a.1.nbc", "b.nbi"]
    assert drop_stale_kernels(tmp_path) == 0
    assert drop_stale_kernels(tmp_path / "none") == 0


def test_a_kernel_sees_that_one_it_calls_has_changed(tmp_path):
    package = tmp_path / "kernels" / "algebra"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").write_text(
        "from pathlib import Path\nfrom poolwise.kernel_cache import drop_stale_kernels\n"
        "drop_stale_kernels(Path(__file__).parent)\n"
    )
    callee = "import numba\n@numba.njit(cache=True)\ndef inner(x):\n    return x + {}\n"
    (package / "inner.py").write_text(callee.format(1))
    (package / "outer.py").write_text(
        textwrap.dedent(
            """
            import numba
            from kernels.algebra.inner import inner

            @numba.njit(cache=True)
            def outer(x):
                return inner(x)
            """
        )
    )

    def run():
        code = "from kernels.algebra.outer import outer; print(outer(1))"
        return int(subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True).stdout)

    assert run() == 2
    (package / "inner.py").write_text(callee.format(41))
    assert run() == 42
