"""Does a slope vary on a predictor far from zero?"""

from poolwise.check.finding import Finding
from poolwise.spec.design import Design
from poolwise.spec.uncentred import DISTANCE, uncentred_slopes, uncentred_text


def uncentred_slope(design: Design, *, centred: bool = True) -> list[Finding]:
    """One finding where varying intercepts stand far outside the data.

    Parameters
    ----------
    design : Design
    centred : bool, default True
        Whether the preset's priors of group intercepts stand at the means of their block's predictors.

    Returns
    -------
    list of Finding
        Empty or one, code ``uncentred_slope``.
    """
    table = uncentred_slopes(design, centred=centred)
    if table.empty:
        return []
    return [
        Finding(
            code="uncentred_slope",
            severity="serious",
            title=uncentred_text(table).split(":")[0],
            value=float(table["distance"].max()),
            threshold=DISTANCE,
            meaning=(
                "The group intercepts are the groups' means where the predictor is zero, far outside the data. "
                "Their sd is then mostly the slopes' sd times that distance; a prior scaled to the response forbids it "
                "and pulls the slopes' sd towards zero, and the likelihood has a ridge where an optimiser may stop."
            ),
            advice=f"Write center({table.iloc[0]['term']}) in the formula, in the common part and in the block.",
            reference="Gelman & Hill (2007), section 13.1.",
            table=table,
        )
    ]
