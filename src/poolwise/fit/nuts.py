"""NUTS through nutpie, by two doors.

The direct door hands nutpie C callbacks that numba keeps on disk: nothing compiles in a new process. It serves the
priors of the closed set. The general door compiles a PyMC model and serves any prior. ``CompiledPyMCModel`` is not a
documented part of nutpie: it is touched here and nowhere else.
"""

import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import xarray as xr

from poolwise.algebra.crossproducts import Array
from poolwise.compile.collapsed import HEADER, LENGTH, log_posterior
from poolwise.errors import FitError

_POINT = numba.types.CPointer(numba.types.double)


@numba.cfunc(
    numba.types.int64(numba.types.uint64, _POINT, _POINT, _POINT, numba.types.voidptr), cache=True, nopython=True
)
def _log_posterior_callback(size, x_pointer, gradient_pointer, value_pointer, packed_pointer):
    header = numba.carray(packed_pointer, (HEADER,), dtype=np.float64)
    packed = numba.carray(packed_pointer, (int(header[LENGTH]),), dtype=np.float64)
    gradient = numba.carray(gradient_pointer, (size,))
    value = log_posterior(numba.carray(x_pointer, (size,)), packed, gradient)
    numba.carray(value_pointer, (1,))[0] = value
    # A positive code tells nutpie to reject the point; a density that is not finite must not be stepped to.
    if not np.isfinite(value):
        return 4
    for i in range(size):
        if not np.isfinite(gradient[i]):
            return 3
    return 0


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


def sample_packed(packed: Array, size: int, start: Callable[[int], Array], **settings: Any) -> xr.DataTree:
    """Sample the collapsed posterior through the direct door.

    Parameters
    ----------
    packed : ndarray
        From :func:`poolwise.compile.collapsed.pack`.
    size : int
        Length of the unconstrained vector.
    start : callable
        From a seed to an initial vector; nutpie calls it once a chain.
    **settings
        draws, tune, chains, cores, seed, progress, target_accept.

    Returns
    -------
    xarray.DataTree
        As nutpie returns it, with the unconstrained draws as ``posterior["x"]``.
    """
    from nutpie.compile_pymc import CompiledPyMCModel

    compiled = CompiledPyMCModel(
        _n_dim=size,
        dims={"x": ("x_dim",)},
        _coords={"x_dim": np.arange(size)},
        _shapes={"x": (size,)},
        compiled_logp_func=_log_posterior_callback,
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
    return run(compiled, **settings)


def run(
    compiled: Any,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int | None = None,
    seed: int | None = None,
    progress: bool = True,
    target_accept: float = 0.9,
) -> xr.DataTree:
    """Run nutpie on a compiled model, every setting stated: its defaults depend on the machine."""
    import nutpie

    try:
        return nutpie.sample(
            compiled,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=min(chains, cores or os.cpu_count() or 1),
            seed=seed,
            save_warmup=False,
            progress_bar=progress,
            target_accept=target_accept,
        )
    except RuntimeError as error:
        raise FitError(
            f"the sampler stopped: {error}. The posterior may have no finite density at its start; look at the priors "
            "(model.priors) and at columns of extreme scale."
        ) from error
