"""A run whose store is a URL: stored, read while it is not complete, resumed and refused as in a folder."""

import fsspec
import pytest

import poolwise as pw
from killed_runs import fit_killed
from poolwise.data import lease, objects
from poolwise.errors import StoreError
from poolwise.result.stream import MANIFEST

# Two short chains are not judged here.
pytestmark = pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")

RUN = dict(draws=200, tune=200, chains=2, seed=3, progress=False)


@pytest.fixture(scope="module")
def model():
    return pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def fit(model):
    return model.fit(**RUN)


@pytest.fixture
def url(request, monkeypatch):
    monkeypatch.setattr(objects, "FLUSH", 0.05)
    monkeypatch.setattr(lease, "RENEW", 0.05)
    monkeypatch.setattr(lease, "WAIT", 0.5)
    found = f"memory://{request.node.name}/run"
    yield found
    fsspec.filesystem("memory").rm(found.rsplit("/", 1)[0], recursive=True)


def names_at(url):
    return sorted(name.rsplit("/", 1)[-1] for name in fsspec.filesystem("memory").ls(url, detail=False))


def stop(model, url, keep):
    """Stop a run when each chain has so many draws; its lease stays, as that of a killed run does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease.Lease, "release", lambda self: self._beat.stop())
        fit_killed(model, url, keep, **RUN)


def test_a_complete_store_is_the_fit_draw_for_draw(model, fit, url):
    stored, loaded = model.fit(**RUN, store=url), pw.load_fit(url)
    for own in (stored, loaded):
        assert own.posterior.equals(fit.posterior) and own.form == fit.form
        assert own.data["sample_stats"].to_dataset().equals(fit.data["sample_stats"].to_dataset())
    assert names_at(url) == ["draws-1.bin.000000", MANIFEST, "model.nc"]
    with pytest.raises(StoreError, match=r"holds a run already.*choose another place"):
        model.fit(**RUN, store=url)


def test_a_killed_run_is_read_resumed_and_made_longer(model, fit, url):
    stop(model, url, [60, 80])
    assert lease.LEASE in names_at(url) and "draws-0.bin.000000" in names_at(url)
    with pytest.warns(pw.PartialRunWarning, match=r"140 of 400 draws \(60, 80 by chain\); 2 chains of 60"):
        partial = pw.load_fit(url)
    assert partial.posterior["sigma"].equals(fit.posterior["sigma"][:, :60])
    with pytest.warns(pw.PoolwiseWarning, match="is taken over"):
        found = pw.resume(url, progress=False)
    assert found.posterior.sizes["draw"] == 200 and found.form.endswith("after 60, 80 draws")
    assert pw.load_fit(url).posterior.equals(found.posterior)
    longer = pw.resume(url, draws=260, progress=False)
    assert longer.posterior.isel(draw=slice(0, 200)).equals(found.posterior)
    assert pw.load_fit(url).settings.draws == 260
    assert [name for name in names_at(url) if name.startswith("draws")] == ["draws-4.bin.000000"]


def test_a_part_that_was_altered_or_taken_away_is_refused(model, url):
    stop(model, url, [60, 80])
    memory = fsspec.filesystem("memory")
    parts = [name for name in names_at(url) if name.startswith("draws")]
    whole = memory.cat_file(f"{url}/{parts[0]}")
    for content in (whole[:-100] + bytes(1) + whole[-99:], whole[:50]):
        memory.pipe_file(f"{url}/{parts[0]}", content)
        with pytest.raises(StoreError, match=r"draws-0\.bin' was altered or damaged"):
            pw.load_fit(url)
    memory.pipe_file(f"{url}/{parts[0]}", whole)
    memory.pipe_file(f"{url}/model.nc", b"another")
    with pytest.raises(StoreError, match=r"model\.nc' was altered or damaged"):
        pw.load_fit(url)


def test_a_store_that_fails_is_said_and_the_fit_is_returned(model, fit, url, monkeypatch):
    real = objects.Objects.put

    def put(self, name, content, **options):
        if name.startswith("draws"):
            raise OSError("the network is gone")
        return real(self, name, content, **options)

    monkeypatch.setattr(objects.Objects, "put", put)
    with pytest.warns(pw.PoolwiseWarning, match="cannot be written to any more: the network is gone"):
        found = model.fit(**RUN, store=url)
    assert found.posterior.equals(fit.posterior)
    with pytest.raises(StoreError, match="not complete, and has no draws to read yet"):
        pw.load_fit(url)
