"""Is the expected log predictive density reliable: are the importance weights of PSIS-LOO steady?"""

import numpy as np
import pandas as pd

from poolwise.check.finding import Finding


def unreliable_elpd(loo) -> list[Finding]:
    """One finding where Pareto k of some rows is beyond what importance sampling can carry.

    Parameters
    ----------
    loo : arviz ELPDData
        With pointwise Pareto k.

    Returns
    -------
    list of Finding
        Empty or one, code ``unreliable_elpd``.
    """
    k, limit = np.asarray(loo.pareto_k), float(loo.good_k)
    rows = np.flatnonzero(~(k <= limit))
    if not len(rows):
        return []
    return [
        Finding(
            code="unreliable_elpd",
            severity="note",
            title=f"elpd rests on {len(rows)} of {len(k)} rows with Pareto k above {limit:.2f} (largest {k.max():.2f})",
            value=float(k.max()),
            threshold=limit,
            meaning="Leaving such a row out changes the posterior too much for reweighting: elpd is unreliable there.",
            advice="Look at these rows (the finding's table): outliers or a wrong family; compare by rmse_kfold too.",
            reference="Vehtari, Gelman & Gabry (2017), Statistics and Computing 27, 1413-1432.",
            table=pd.DataFrame({"row": rows, "pareto_k": k[rows]}),
            figure=pd.DataFrame({"row": np.arange(len(k)), "pareto_k": k}),
        )
    ]
