"""The command line: parses, calls, exits.

Exit codes: 0 done, 1 an error of the input (one line on standard error), 2 wrong usage, 3 done but the sampler did not
converge, 130 interrupted.
"""

import argparse
import os
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from poolwise import __version__
from poolwise.cli_predict import add_predict_command
from poolwise.cli_priors import add_priors_commands, preset_with
from poolwise.cli_table import InputFile, in_words_of_the_command, order_levels
from poolwise.errors import ConvergenceWarning, PoolwiseError, UncentredSlopeWarning, UnknownNameError, near_names

if TYPE_CHECKING:
    from poolwise.model import Model
    from poolwise.result.bayes import BayesFit

DEMO_DATA, DEMO_FORMULA = "bounce_rates", "bounce_time ~ std_age + (std_age | county)"
DONE, WRONG_INPUT, NOT_CONVERGED, INTERRUPTED = 0, 1, 3, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        Exit code.
    """
    parsed = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            # What the warning says stands in the findings, in full.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", UncentredSlopeWarning)
            code = parsed.run(parsed)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # Whoever reads, "head" for instance, has seen enough; Python would flush once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (PoolwiseError, ValueError, OSError) as error:
        print(f"poolwise: {in_words_of_the_command(str(error))}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        kept = getattr(parsed, "store", None)
        left = "nothing was written" if kept is None else f"poolwise resume {shlex.quote(kept)} goes on"
        print(f"poolwise: interrupted; {left}", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="poolwise")
    parser.description = "Complete, no and partial pooling side by side."
    parser.add_argument("--version", action="version", version=f"poolwise {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the study on the bounce times of customers in eight counties")
    demo.set_defaults(run=_demo)
    compare = commands.add_parser("compare", help="the study on a table of yours")
    compare.set_defaults(run=_compare)
    fit = commands.add_parser(
        "fit", help="the posterior of one model on a table of yours; any number of grouping factors"
    )
    fit.set_defaults(run=_fit)
    fit.add_argument(
        "--store",
        help="a new folder, or a URL such as s3://bucket/run, for draws while they are made; 'poolwise resume' goes on",
    )
    resume = commands.add_parser("resume", help="what a run of 'fit --store' lacks, after it was killed; a longer run")
    resume.set_defaults(run=_resume)
    resume.add_argument("store", help="the folder or URL that 'fit --store' was given")
    resume.add_argument(
        "--draws", type=int, default=None, help="draws of each chain in the end (those first asked for)"
    )
    resume.add_argument("--out", default="poolwise-fit", help="folder for tables and posterior (poolwise-fit)")
    resume.add_argument("--quiet", action="store_true", help="no progress")
    report = commands.add_parser("report", help="one HTML file about a table of yours: the study, or the fit, in full")
    report.set_defaults(run=_report)
    for command in (compare, fit, report):
        command.add_argument("data", help="CSV file with a header")
        command.add_argument(
            "formula",
            help="for instance 'y ~ x + (x|g)', in single quotes; `a name` with spaces in back-quotes; of a response "
            "of two texts the one that is the event: 'y[\"yes\"] ~ x'",
        )
        command.add_argument("--family", default="gaussian", help="bernoulli, binomial, poisson, gamma ... (gaussian)")
        command.add_argument("--link", default=None, help="logit, probit, log ...; the family's own by default")
        command.add_argument(
            "--levels",
            metavar="LOW,...,HIGH",
            help="of an ordinal response of texts, from the lowest to the highest: low,mid,high",
        )
        command.add_argument(
            "--missing", choices=["error", "drop"], default="error", help="rows with missing values (error)"
        )
        command.add_argument(
            "--prior",
            action="append",
            metavar="'NAME = PRIOR'",
            help="one parameter's prior in place of the preset's, such as 'x = Normal(mu=0, sigma=1)'; may be given "
            "several times; the names are those of priors.csv, which `fit` writes",
        )
    report.add_argument("--out", default="report.html", help="the file (report.html)")
    for command, folder in ((demo, "poolwise-demo"), (compare, "poolwise-compare"), (fit, "poolwise-fit")):
        command.add_argument("--out", default=folder, help=f"folder for tables, posterior and picture ({folder})")
    for command in (demo, compare, fit, report):
        command.add_argument("--priors", default="weakly_informative", help="name or path of a preset")
        command.add_argument("--seed", type=int, default=1, help="the same seed gives the same numbers (1)")
        command.add_argument("--draws", type=int, default=1000, help="kept draws of each chain (1000)")
        command.add_argument("--chains", type=int, default=4, help="chains (4)")
        command.add_argument("--quiet", action="store_true", help="no progress")
    add_predict_command(commands)
    add_priors_commands(commands)
    return parser


def _demo(parsed: argparse.Namespace) -> int:
    from poolwise.data.examples import load_dataset

    return _study(load_dataset(DEMO_DATA), DEMO_FORMULA, parsed, report="report.html", priors=parsed.priors)


def _given(parsed: argparse.Namespace) -> "tuple[InputFile, Model, dict]":
    """The table of a command, its model, and the arguments that the model was made of."""
    from poolwise.model import Model

    file = InputFile(parsed.data)
    if parsed.levels is not None:
        order_levels(file, parsed.formula, parsed.family, parsed.levels)
    preset, own = preset_with(parsed.priors, parsed.prior)
    given = dict(family=parsed.family, link=parsed.link, missing=parsed.missing, priors=preset)
    with file.telling():
        model = Model(parsed.formula, file.frame, **given)
    for note in model.specification.table.notes:
        print(f"Note: {in_words_of_the_command(note)}.")
    # A preset's own overrides may name what a model does not have; those of a command are meant.
    parameters = model.priors["parameter"].tolist()
    for name in own:
        if name not in parameters:
            raise UnknownNameError(f"--prior names no parameter of the model, {name!r}; {near_names(name, parameters)}")
    return file, model, given


def _compare(parsed: argparse.Namespace) -> int:
    file, _, given = _given(parsed)
    return _study(file.frame, parsed.formula, parsed, **given)


def _fit(parsed: argparse.Namespace) -> int:
    started = time.perf_counter()
    _, model, _ = _given(parsed)
    run = dict(draws=parsed.draws, chains=parsed.chains, seed=parsed.seed, progress=not parsed.quiet)
    dropped = model.specification.table.dropped_in_words
    return _written(model.fit(**run, store=parsed.store), parsed, started, dropped)


def _resume(parsed: argparse.Namespace) -> int:
    from poolwise.continuing import resume

    started = time.perf_counter()
    return _written(resume(parsed.store, parsed.draws, progress=not parsed.quiet), parsed, started, "")


def _written(fit: "BayesFit", parsed: argparse.Namespace, started: float, dropped: str) -> int:
    """Say what a fit found, and write its tables and posterior."""
    import pandas as pd

    print(fit)
    if dropped:
        print(f"\nRows with missing values were dropped: {dropped}.")
    print(f"\n{fit.check()}")
    factors: list[str | None] = [factor.name for factor in fit.design.factors] or [None]
    folder = Path(parsed.out)
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"summary": fit.summary().rename_axis("parameter").reset_index(), "priors": fit.priors}
    # One file for all grouping factors; its column factor tells them apart.
    parts = [fit.coef(factor=factor) for factor in factors]
    tables["coef"] = pd.concat(parts, ignore_index=True)
    files = []
    for name, table in tables.items():
        files.append(folder / f"{name}.csv")
        table.to_csv(files[-1], index=False)
    files.append(fit.save(folder / "posterior.nc"))
    print("\nWritten: " + ", ".join(map(str, files)))
    print(f"Next: poolwise predict {files[-1]} new_rows.csv")
    print(f'Or, in Python: pw.load_fit("{files[-1]}").predict(new_rows), .loo(), .report("fit.html")')
    if parsed.store is not None:
        print(f"To make it longer, or to go on if it was interrupted: poolwise resume {shlex.quote(parsed.store)}")
    print(f"Done in {time.perf_counter() - started:.0f} s.")
    return DONE if fit.converged else NOT_CONVERGED


def _report(parsed: argparse.Namespace) -> int:
    from poolwise.compare.pooling import can_be_compared, compare_pooling

    started, path = time.perf_counter(), Path(parsed.out)
    if not path.parent.is_dir():
        raise PoolwiseError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")
    run = dict(draws=parsed.draws, chains=parsed.chains, seed=parsed.seed, progress=not parsed.quiet)
    file, model, given = _given(parsed)
    if can_be_compared(model):
        study = compare_pooling(parsed.formula, file.frame, **given, **run)
        fit, written = study.bayes, study.report(path)
    else:
        fit = model.fit(**run)
        written = fit.report(path)
    print(f"Report: {written.resolve()}\nDone in {time.perf_counter() - started:.0f} s.")
    return DONE if fit.converged else NOT_CONVERGED


def _study(data, formula: str, parsed: argparse.Namespace, report: str = "", **given) -> int:
    from poolwise.compare.pooling import compare_pooling

    started = time.perf_counter()
    study = compare_pooling(
        formula,
        data,
        draws=parsed.draws,
        chains=parsed.chains,
        seed=parsed.seed,
        progress=not parsed.quiet,
        **given,
    )
    print(study)
    print(f"\nGroup by group\n{study.shrinkage().to_string(index=False, float_format='%.4g')}")
    files = study.save(parsed.out)
    picture = Path(parsed.out) / "estimates.png"
    study.plot_estimates().savefig(picture, dpi=130)
    print("\nWritten: " + ", ".join(str(path) for path in [*files, picture]))
    if report:
        print(f"Report: {study.report(Path(parsed.out) / report).resolve()}")
    print(f"Done in {time.perf_counter() - started:.0f} s.")
    return DONE if study.bayes.converged else NOT_CONVERGED


if __name__ == "__main__":
    sys.exit(main())
