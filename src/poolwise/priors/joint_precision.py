"""What a joint prior says of the coefficients given its latents: independent normals about 0, by their precisions.

The kernel whitens the common effects by them (``algebra/whitened.py``), so that a coefficient that the data hardly
identify does not drag its own scale behind it, which is Neal's funnel. The sets are those of ``priors/joint.py``.

References
----------
Neal (2003), Annals of Statistics 31(3), 705-767, section 8, for the funnel.
"""

import math

import numba
import numpy as np

from poolwise.priors.joint import R2D2M2, SET_HEADER, SMOOTH, Array, log_spectral


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_precisions(joint, sigma, latent, precision):
    """Fill the precisions (p,) of the coefficients given sigma and the latents (r,); 0 for those under other priors."""
    precision[:] = 0.0
    at, first = 1, 0
    for _ in range(int(joint[0])):
        length, m, r = int(joint[at + 1]), int(joint[at + 2]), int(joint[at + 4])
        one, own = joint[at : at + length], latent[first : first + r]
        centres = length - r
        for i in range(m):
            member, scale = int(one[SET_HEADER + 2 * i]), one[SET_HEADER + 2 * i + 1]
            if int(one[0]) == R2D2M2:
                precision[member] = (scale / sigma) ** 2 * math.exp(-own[i] - one[centres + i])
            elif int(one[0]) == SMOOTH:
                log_sd, log_length = own[0] + one[centres], own[1] + one[centres + 1]
                precision[member] = math.exp(-log_spectral(one[5], one[6], scale, log_sd, log_length)[0])
            else:
                # 1 / (A c^2 / (A + c^2)) = 1 / A + 1 / c^2, A the square of sigma, the global and the local scale.
                log_root = own[i] + one[centres + i] + own[m] + one[centres + m]
                log_c = own[m + 1] + one[centres + m + 1]
                precision[member] = scale**2 * (math.exp(-2 * log_root) / sigma**2 + math.exp(-2 * log_c))
        at += length
        first += r


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pull_precisions(joint, sigma, latent, precision_bar, latent_bar):
    """From the derivatives by the precisions (p,): those by the latents are added to (r,), that by sigma returned."""
    sigma_bar = 0.0
    at, first = 1, 0
    for _ in range(int(joint[0])):
        length, m, r = int(joint[at + 1]), int(joint[at + 2]), int(joint[at + 4])
        one, own, own_bar = joint[at : at + length], latent[first : first + r], latent_bar[first : first + r]
        centres = length - r
        for i in range(m):
            member, scale = int(one[SET_HEADER + 2 * i]), one[SET_HEADER + 2 * i + 1]
            if int(one[0]) == R2D2M2:
                by_log = precision_bar[member] * (scale / sigma) ** 2 * math.exp(-own[i] - one[centres + i])
                own_bar[i] -= by_log
                sigma_bar -= 2 * by_log / sigma
            elif int(one[0]) == SMOOTH:
                log_sd, log_length = own[0] + one[centres], own[1] + one[centres + 1]
                log_s, by_sd, by_length = log_spectral(one[5], one[6], scale, log_sd, log_length)
                by_log = precision_bar[member] * math.exp(-log_s)
                own_bar[0] -= by_log * by_sd
                own_bar[1] -= by_log * by_length
            else:
                log_root = own[i] + one[centres + i] + own[m] + one[centres + m]
                log_c = own[m + 1] + one[centres + m + 1]
                by_root = -2 * precision_bar[member] * scale**2 * math.exp(-2 * log_root) / sigma**2
                own_bar[i] += by_root
                own_bar[m] += by_root
                own_bar[m + 1] -= 2 * precision_bar[member] * scale**2 * math.exp(-2 * log_c)
                sigma_bar += by_root / sigma
        at += length
        first += r
    return sigma_bar


@numba.njit(cache=True, nogil=True, error_model="numpy")
def precisions_of_draws(joint, sigma, latent, p):
    """The precisions (D, p) at draws of sigma (D,) and of the latents (D, r)."""
    found = np.empty((len(sigma), p))
    for draw in range(len(sigma)):
        fill_precisions(joint, sigma[draw], latent[draw], found[draw])
    return found


def normal_terms(precision: Array, offset: Array, matrix: Array) -> tuple[Array, Array]:
    """Precision matrices (D, p, p) and linear terms (D, p) over b where offset + matrix b has precisions (D, p)."""
    weighted = precision[:, :, None] * matrix
    return matrix.T @ weighted, -(weighted * offset[:, None]).sum(axis=1)
