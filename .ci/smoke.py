"""What an installed wheel must do: import fast, find its data, presets and templates, fit, check, report, save, load."""

import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

# A release of a neighbour may deprecate what another still calls; numbers are what is asked here.
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", FutureWarning)

IMPORT_SECONDS = 0.3


def import_seconds() -> float:
    """Of a second process: the first writes the byte code."""
    code = "import time; start = time.perf_counter(); import poolwise; print(time.perf_counter() - start)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


def main() -> None:
    import poolwise as pw

    assert "site-packages" in pw.__file__, f"not the installed package: {pw.__file__}"
    assert import_seconds() < IMPORT_SECONDS
    assert len(pw.presets()) >= 15
    start = time.perf_counter()
    bounce = pw.load_dataset("bounce_rates")
    study = pw.compare_pooling("bounce_time ~ std_age + (std_age | county)", bounce, seed=1, progress=False)
    assert study.reml.is_singular and "singular_fit" in {finding.code for finding in study.findings}
    assert abs(study.bayes.fixef["std_age"] - 1.3) < 0.3
    cbpp = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
    fit = cbpp.fit(seed=1, progress=False)
    # lme4's estimate is 0.64.
    assert 0.4 < float(fit.posterior["1|herd_sigma"].mean()) < 1.0
    crossed = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    assert abs(crossed.fit_frequentist().sigma - 0.5499) < 1e-3
    explicit = pw.Model("Reaction ~ Days + (1 | Subject)", pw.load_dataset("sleepstudy"), "t")
    explicit.fit(draws=200, tune=200, chains=2, seed=1, progress=False, form="generative")
    with tempfile.TemporaryDirectory() as folder:
        again = pw.load_fit(fit.save(Path(folder) / "fit.nc"))
        assert again.predict().equals(fit.predict())
        assert study.report(Path(folder) / "study.html").stat().st_size > 100_000
    print(
        f"poolwise {pw.__version__} on Python {sys.version.split()[0]}: all well in {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)
    main()
