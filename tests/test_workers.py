"""Whoever does the work, the result is the same: here, processes of this machine, a cluster of Dask."""

import os
import threading
import warnings
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

import poolwise as pw
from poolwise.errors import ArgumentError, FitError
from poolwise.workers import CHUNKS, in_order


class Task:
    """A number's own draw, and what it saw of its process."""

    def __init__(self, fails_at=-1):
        self.fails_at, self.seeds = fails_at, np.random.SeedSequence(1).spawn(200)

    def __call__(self, number):
        if number == self.fails_at:
            raise FitError(f"number {number} has no fit")
        if number == 3:
            warnings.warn("three is odd", pw.ConvergenceWarning, stacklevel=2)
        threads = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
        return number, float(np.random.default_rng(self.seeds[number]).normal()), threads


class Recorder:
    """A client that runs what it is given at once, and keeps what it was given."""

    def __init__(self):
        self.given = []

    def submit(self, function, *arguments):
        self.given.append(arguments)
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def drawn(**options):
    with pytest.warns(pw.ConvergenceWarning, match="three is odd") as told:
        found = list(in_order(Task(), 200, **options))
    assert len(told) == 1
    return found


def test_everywhere_alike_in_order_and_with_one_thread():
    here = drawn()
    assert [number for number, _, _ in here] == list(range(200)) and {threads for _, _, threads in here} == {1}
    assert drawn(client=Recorder()) == here
    with ThreadPoolExecutor(3) as pool:
        assert drawn(client=pool) == here


@pytest.mark.slow
def test_processes_are_alike():
    assert drawn(workers=2) == drawn()


def test_many_numbers_make_few_tasks():
    client = Recorder()
    drawn(client=client)
    assert [len(numbers) for _, numbers in client.given] == [200 // CHUNKS] * 66 + [2]
    assert len({id(content) for content, _ in client.given}) == 1


def test_errors_come_back_and_end_it():
    for options in ({}, {"client": Recorder()}):
        found = in_order(Task(fails_at=1), 5, **options)
        assert next(found)[0] == 0
        with pytest.raises(FitError, match="number 1 has no fit"):
            next(found)


def test_what_waits_is_dropped_when_the_caller_stops():
    started, go = [], threading.Event()

    class Slow:
        def __init__(self):
            self.pool = ThreadPoolExecutor(1)

        def submit(self, function, content, numbers):
            return self.pool.submit(lambda: (started.append(numbers), go.wait(30), ([numbers], []))[-1])

    client = Slow()
    found = in_order(Task(), 20, client=client)
    go.set()
    next(found)
    go.clear()
    found.close()
    go.set()
    client.pool.shutdown()
    assert len(started) < 20


NO_CLIENT = r"client must have a method submit\(function, \.\.\.\), as a dask\.distributed\.Client has; got int"
REFUSED = [
    ({"client": 5}, NO_CLIENT),
    ({"workers": 0}, "workers must be a whole number of at least 1; got 0"),
    ({"workers": 2, "client": Recorder()}, "give workers= for processes of this machine, or client=, not both"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_cannot_be_is_refused(options, said):
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    for call in (
        lambda: list(in_order(Task(), 5, **options)),
        lambda: pw.design_coverage(model, **options),
        lambda: pw.validate.simulation_based_calibration(model, **options),
        lambda: pw.compare_priors(model, ["flat"], **options),
        lambda: model.fit_frequentist().confint("bootstrap", **options),
    ):
        with pytest.raises(ArgumentError, match=said):
            call()


# What takes a client, each as small as it still runs through everything.


@pytest.fixture(scope="module")
def model():
    return pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def fit(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(draws=100, tune=200, chains=2, seed=1, progress=False)


def coverage(model, fit, **options):
    options |= {"simulations": 4, "draws": 50, "tune": 100, "seed": 1}
    return pw.design_coverage(model, **options).replicates


def calibration(model, fit, **options):
    simple = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    options |= {"n_sim": 6, "draws": 100, "tune": 100, "seed": 1, "progress": False}
    return pw.validate.simulation_based_calibration(simple, **options).ranks


def bootstrap(model, fit, **options):
    found = model.fit_frequentist().bootstrap(50, seed=1, progress=False, **options)
    return found.draws


def crossed_bootstrap(model, fit, **options):
    crossed = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    return crossed.fit_frequentist().confint("bootstrap", n_boot=30, seed=1, progress=False, **options)


def folds(model, fit, **options):
    return fit.kfold(3, seed=1, **options).table


def folds_of_groups(model, fit, **options):
    return fit.kfold(2, by="Subject", seed=1, **options).table


def priors(model, fit, **options):
    # So far from the data that the weights cannot be trusted.
    far = {"Days": pw.Prior("Normal", mu=40, sigma=1)}
    run = {"draws": 100, "tune": 200, "chains": 2, "seed": 1}
    found = pw.compare_priors(model, ["few_groups", far], **run, **options)
    assert found.methods["method"].tolist()[2] == "refitted"
    return found.table


EVERY = [coverage, calibration, bootstrap, crossed_bootstrap, folds, folds_of_groups, priors]


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
@pytest.mark.parametrize("work", EVERY)
def test_a_client_changes_nothing(model, fit, work):
    client = Recorder()
    here, there = work(model, fit), work(model, fit, client=client)
    assert client.given
    pd.testing.assert_frame_equal(there, here, check_exact=True)


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as own, distributed.Client(own) as client:
        yield client


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("work", EVERY)
def test_a_cluster_changes_nothing(model, fit, cluster, work):
    pd.testing.assert_frame_equal(work(model, fit, client=cluster), work(model, fit), check_exact=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_does_it_in_its_own_processes(cluster):
    found = list(in_order(Where(), 12, client=cluster))
    assert os.getpid() not in {process for process, _ in found}
    assert {threads for _, threads in found} == {1}


class Where:
    """Which process it runs in, and with how many BLAS threads."""

    def __call__(self, number):
        found = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        return os.getpid(), max(found, default=1)
