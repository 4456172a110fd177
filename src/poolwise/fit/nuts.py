"""NUTS through nutpie, by two doors.

The direct door hands nutpie C callbacks that numba keeps on disk: nothing compiles in a new process. It serves the
priors of the closed set. The general door compiles a PyMC model and serves any prior. ``CompiledPyMCModel`` is not a
documented part of nutpie: it is touched here and nowhere else.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import ModuleType
from typing import Any

import numba
import numpy as np
import xarray as xr

from poolwise.algebra.crossproducts import Array
from poolwise.compile import collapsed, whitened
from poolwise.errors import ConvergenceWarning, FitError
from poolwise.fit.trace import Feed, Watch, collected

# Seconds between two looks at a run that is watched, what a look takes included, and what is left to it between them at
# least. A draw made just after a look is handed on by the end of the next: within a second if a look takes up to 0.475.
EVERY, LEAST_PAUSE = 0.25, 0.05

_POINT = numba.types.CPointer(numba.types.double)
_DENSITY = numba.types.int64(numba.types.uint64, _POINT, _POINT, _POINT, numba.types.voidptr)


@numba.njit(cache=True, nogil=True)
def _code(value, gradient):
    """What nutpie is told: 0, or a positive code by which it rejects a point that must not be stepped to."""
    if not np.isfinite(value):
        return 4
    for i in range(len(gradient)):
        if not np.isfinite(gradient[i]):
            return 3
    return 0


@numba.cfunc(_DENSITY, cache=True, nopython=True)
def _log_posterior_callback(size, x_pointer, gradient_pointer, value_pointer, packed_pointer):
    header = numba.carray(packed_pointer, (collapsed.HEADER,), dtype=np.float64)
    packed = numba.carray(packed_pointer, (int(header[collapsed.LENGTH]),), dtype=np.float64)
    gradient = numba.carray(gradient_pointer, (size,))
    value = collapsed.log_posterior(numba.carray(x_pointer, (size,)), packed, gradient)
    numba.carray(value_pointer, (1,))[0] = value
    return _code(value, gradient)


@numba.cfunc(_DENSITY, cache=True, nopython=True)
def _whitened_callback(size, x_pointer, gradient_pointer, value_pointer, packed_pointer):
    header = numba.carray(packed_pointer, (whitened.HEADER,), dtype=np.float64)
    packed = numba.carray(packed_pointer, (int(header[whitened.LENGTH]),), dtype=np.float64)
    gradient = numba.carray(gradient_pointer, (size,))
    value = whitened.log_posterior(numba.carray(x_pointer, (size,)), packed, gradient)
    numba.carray(value_pointer, (1,))[0] = value
    return _code(value, gradient)


@numba.cfunc(
    numba.types.int64(numba.types.uint64, numba.types.uint64, _POINT, _POINT, numba.types.voidptr),
    cache=True,
    nopython=True,
)
def _expand_callback(size, expanded_size, x_pointer, out_pointer, packed_pointer):
    x = numba.carray(x_pointer, (size,))
    out = numba.carray(out_pointer, (expanded_size,))
    for i in range(size):
        out[i] = x[i]
    return 0


_CALLBACKS = {"collapsed": _log_posterior_callback, "whitened": _whitened_callback}


def sample_packed(
    packed: Array, size: int, start: Callable[[int], Array], *, kernel: str = "collapsed", **settings: Any
) -> tuple[Array, xr.Dataset]:
    """Sample a posterior of poolwise's own kernels through the direct door.

    Parameters
    ----------
    packed : ndarray
        From :func:`poolwise.compile.collapsed.pack` or :func:`poolwise.compile.whitened.pack`.
    size : int
        Length of the unconstrained vector.
    start : callable
        From a seed to an initial vector; nutpie calls it once a chain.
    kernel : {"collapsed", "whitened"}
        Whose density.
    **settings
        As :func:`run` takes them.

    Returns
    -------
    x : ndarray (chain, draw, size)
        Unconstrained draws.
    stats : Dataset
        nutpie's sample statistics.
    """
    nutpie_without_arviz()
    from nutpie.compile_pymc import CompiledPyMCModel

    compiled = CompiledPyMCModel(
        _n_dim=size,
        dims={"x": ("x_dim",)},
        _coords={"x_dim": np.arange(size)},
        _shapes={"x": (size,)},
        compiled_logp_func=_CALLBACKS[kernel],
        compiled_expand_func=_expand_callback,
        initial_point_func=start,
        shared_data={},
        shared_var_keys={},
        user_data=packed,
        n_expanded=size,
        shape_info=(["x"], [slice(0, size)], [(size,)]),
        logp_func=None,
        expand_func=None,
        reparameterized_names=[],
    )
    posterior, stats = run(compiled, **settings)
    return posterior["x"].to_numpy(), stats


def nutpie_without_arviz() -> None:
    """Import nutpie while a stand-in takes the place of arviz, which loads the real one when it is first used.

    nutpie needs arviz only to convert its results, which the direct door does by itself; importing it with its plots
    takes longer than a small posterior takes to sample.
    """
    if "arviz" not in sys.modules and "nutpie" not in sys.modules:
        stand_in = ModuleType("arviz")
        stand_in.__getattr__ = lambda name: getattr(import_module("arviz"), name)  # type: ignore[method-assign]
        sys.modules["arviz"] = stand_in
        try:
            import_module("nutpie")
        finally:
            del sys.modules["arviz"]


def run(
    compiled: Any,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int | None = None,
    seed: int | None = None,
    progress: bool = True,
    target_accept: float,
    watch: Watch | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Run nutpie on a compiled model, every setting stated: its defaults depend on the machine.

    Parameters
    ----------
    compiled : nutpie CompiledModel
        What to sample.
    draws, tune, chains, cores, seed, progress, target_accept
        As :class:`poolwise.fit.bayes.Sampling` has them.
    watch : callable, optional
        Told of new draws once in :data:`EVERY` seconds and at the end; the draws are the same as without it.

    Returns
    -------
    posterior, sample_stats : Dataset
        As :func:`poolwise.fit.trace.collected` has them; of what there is after an interrupt.
    """
    import nutpie

    if tune < 1:
        # Without a warm-up draw nutpie's threads panic, and the process with them.
        warnings.warn(
            "tune=0 leaves no warm-up: one draw is taken as such, the step size is not adapted, and the draws are not "
            "to be trusted; leave tune at 1000, or ask for 200 at least",
            ConvergenceWarning,
            stacklevel=7,
        )
    try:
        sampler = nutpie.sample(
            compiled,
            draws=draws,
            tune=max(tune, 1),
            chains=chains,
            cores=min(chains, cores or os.cpu_count() or 1),
            seed=seed,
            save_warmup=False,
            progress_bar=progress,
            target_accept=target_accept,
            return_raw_trace=True,
            blocking=False,
        )
        feed = None if watch is None else Feed(watch, compiled.coords)
        trace = _awaited(sampler, feed).get_arrow_trace()
        if feed is not None:
            feed(trace)
        return collected(trace, compiled.coords)
    except RuntimeError as error:
        raise FitError(
            f"the sampler stopped: {error}. The posterior may have no finite density at its start; look at the priors "
            "(model.priors) and at columns of extreme scale."
        ) from error
    except BaseException as error:
        # A panic of nutpie's threads is no Exception, and its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise FitError(f"the sampler broke down: {error}; look at tune, draws and chains") from error


def _awaited(sampler: Any, feed: Feed | None) -> Any:
    """The trace of a run, of what there is of it after an interrupt."""
    try:
        if feed is None:
            return sampler.wait()
        pause = EVERY
        # An interrupt reaches the main thread alone, so that what the other one has begun to hand on is handed on.
        with ThreadPoolExecutor(1) as aside:
            while True:
                try:
                    return sampler.wait(timeout=pause)
                except TimeoutError:
                    begun = time.monotonic()
                    aside.submit(lambda: feed(sampler.inspect().get_arrow_trace())).result()
                    pause = max(EVERY - (time.monotonic() - begun), LEAST_PAUSE)
    except KeyboardInterrupt:
        return sampler.abort()
    except BaseException:
        sampler.cancel()
        raise
