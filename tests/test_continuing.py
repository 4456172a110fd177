"""What a stopped run lacks is made, what it has stays; longer fits have the draws of shorter ones."""

import shutil

import numpy as np
import pytest

import poolwise as pw
from killed_runs import Killed, fit_killed
from poolwise.errors import ArgumentError, FitError, StoreError
from poolwise.fit import nuts
from poolwise.fit.crossed import CrossedSampler
from poolwise.result.stream import RunStore

RUN = dict(draws=400, tune=300, chains=4, seed=3, progress=False)


@pytest.fixture(scope="module")
def model():
    return pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def fit(model):
    return model.fit(**RUN)


def test_a_stopped_run_is_resumed(model, fit, tmp_path):
    # Two chains side by side: of the others nothing was made.
    keep = [60, 12, 0, 0]
    fit_killed(model, tmp_path / "run", keep, **RUN)
    with pytest.warns(pw.PartialRunWarning, match=r"72 of 1600 draws \(60, 12, 0, 0 by chain\); 1 chains of 60"):
        pw.load_fit(tmp_path / "run")
    found = pw.resume(tmp_path / "run", progress=False)
    assert (found.settings.chains, found.settings.draws, found.settings.seed) == (4, 400, 3)
    assert found.form.endswith("; resumed: fresh chains went on after 60, 12, 0, 0 draws")
    for name, value in found.posterior.items():
        for chain, count in enumerate(keep):
            old = fit.posterior[name][chain, :count]
            np.testing.assert_allclose(value[chain, :count], old, rtol=1e-12, atol=1e-12)
        assert not np.isin(value.to_numpy()[0, 60:].ravel(), fit.posterior[name].to_numpy().ravel()).any() or name in (
            "corr|Subject",
        )
    assert found.converged
    loaded = pw.load_fit(tmp_path / "run")
    assert loaded.posterior.equals(found.posterior) and loaded.form == found.form
    again = pw.resume(tmp_path / "run", progress=False)
    assert again.posterior.equals(found.posterior)


def test_resuming_is_reproducible(model, tmp_path):
    fit_killed(model, tmp_path / "one", [20, 20, 20, 20], **RUN)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (pw.resume(tmp_path / name, progress=False, cores=cores) for name, cores in (("one", 1), ("two", 2)))
    assert one.posterior.equals(two.posterior)


def test_a_run_without_draws_begins_again(model, fit, tmp_path):
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nuts, "_awaited", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        model.fit(**RUN, store=tmp_path / "run")
    found = pw.resume(tmp_path / "run", progress=False)
    assert found.posterior.equals(fit.posterior) and found.form == fit.form


def test_a_stored_run_is_made_longer(model, fit, tmp_path):
    model.fit(**RUN, store=tmp_path / "run")
    longer = pw.resume(tmp_path / "run", draws=600, progress=False)
    extended = fit.extend(200, progress=False)
    assert longer.posterior.equals(extended.posterior)
    assert pw.load_fit(tmp_path / "run").settings.draws == 600
    with pytest.raises(ArgumentError, match="have 600 draws already; ask for as many at least"):
        pw.resume(tmp_path / "run", draws=500)
    with pytest.raises(ArgumentError, match="draws must be a whole number"):
        pw.resume(tmp_path / "run", draws=2.5)


def test_a_run_killed_as_it_completes(model, fit, tmp_path):
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        real = RunStore._write

        def write(self, **changes):
            if changes.get("state") == "complete":
                raise Killed
            real(self, **changes)

        patch.setattr(RunStore, "_write", write)
        model.fit(**RUN, store=tmp_path / "run")
    assert len(list((tmp_path / "run").glob("draws-*.bin"))) == 2
    with pytest.warns(pw.PartialRunWarning, match="1600 of 1600"):
        assert pw.load_fit(tmp_path / "run").settings.draws == 400
    found = pw.resume(tmp_path / "run", progress=False)
    np.testing.assert_allclose(found.posterior["sigma"], fit.posterior["sigma"], rtol=1e-12)
    assert pw.load_fit(tmp_path / "run").form == fit.form


def test_an_extended_fit(fit):
    longer = fit.extend(100, progress=False)
    assert longer.settings.draws == 500 and fit.settings.draws == 400
    assert longer.posterior.isel(draw=slice(0, 400)).equals(fit.posterior)
    assert longer.posterior["sigma"].dims == ("chain", "draw")
    assert longer.data["sample_stats"].sizes["draw"] == 500
    assert longer.convergence.draws == 500 and longer.effects(longer.design.factors[0]).shape == (2000, 18, 2)
    assert longer.form == f"{fit.form}; extended: fresh chains went on after 400 draws"
    assert fit.extend(100, progress=False).posterior.equals(longer.posterior)
    again = longer.extend(100, progress=False)
    assert not np.isin(again.posterior["sigma"][:, 500:], longer.posterior["sigma"]).any()
    assert longer.fixef["Days"] == pytest.approx(10.47, abs=0.3)


def test_a_saved_fit_is_extended_alike(fit, tmp_path):
    loaded = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    assert loaded.extend(100, progress=False).posterior.equals(fit.extend(100, progress=False).posterior)


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
@pytest.mark.parametrize("priors", ["brms", "few_groups"])
def test_priors_that_stand_elsewhere_or_are_joint_stay(priors):
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), priors=priors)
    run = RUN | {"draws": 200, "chains": 2}
    first = model.fit(**run)
    # The seed of the extension, made as the documentation says.
    seed = int(np.random.SeedSequence(3, spawn_key=(400,)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    second = model.fit(**(run | {"seed": seed, "draws": 100}))
    longer = first.extend(100, progress=False)
    new = longer.posterior.isel(draw=slice(200, None)).drop_vars("draw")
    assert new.equals(second.posterior.drop_vars("draw"))


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_whitened_fits_are_extended():
    model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), family="binomial")
    longer = model.fit(**RUN).extend(100, progress=False)
    assert longer.settings.draws == 500 and longer.form.startswith("whitened form")


def test_independent_draws_are_extended():
    model = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    fit = model.fit(**RUN)
    longer = fit.extend(100, progress=False)
    proposals = longer.data["sample_stats"]["proposal"].to_numpy()
    assert not np.isin(proposals[:, 400:], proposals[:, :400]).any()
    assert longer.convergence.pareto_k >= fit.convergence.pareto_k
    assert longer.convergence.ess > fit.convergence.ess


def test_draws_of_another_form_are_not_joined(tmp_path, monkeypatch):
    model = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    fit = model.fit(**RUN, store=tmp_path / "run")
    monkeypatch.setattr(CrossedSampler, "sample", lambda *_: (None, 0.9))
    for call in (lambda: pw.resume(tmp_path / "run", draws=500), lambda: fit.extend(100)):
        with pytest.raises(FitError, match="come from the whitened form"), pytest.warns(pw.OtherFormWarning):
            call()
    with pytest.warns(pw.PartialRunWarning, match="1600 of 2000"):
        assert pw.load_fit(tmp_path / "run").posterior.equals(fit.posterior)


def test_a_fit_of_sums_is_extended(tmp_path):
    data = pw.collapse(pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)")
    model = pw.Model("Reaction ~ Days + (Days | Subject)", data)
    fit_killed(model, tmp_path / "run", [30, 30, 30, 30], **RUN)
    assert pw.resume(tmp_path / "run", progress=False).settings.draws == 400
    assert model.fit(**RUN).extend(100, progress=False).settings.draws == 500


def test_forms_that_are_not_known(fit, monkeypatch):
    monkeypatch.setattr(fit, "form", "by hand")
    with pytest.raises(FitError, match="cannot be extended, as its form is not known: 'by hand'"):
        fit.extend(100, progress=False)


def test_places_without_a_store(tmp_path):
    for path in (tmp_path / "nothing", tmp_path, "memory://nothing"):
        with pytest.raises(StoreError, match=r"no store of a poolwise run at .* it has no manifest\.json"):
            pw.resume(path)
