"""Figure S10: AutoL2 with a learning-rate schedule: faster early, behind the best constant λ late."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.figS9 import draw_setup
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("autol2_wrn_schedule",)


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw accuracy and loss against epochs."""
    setting = (
        "The network of Figure S9 with a learning-rate schedule (other differences: see the runs below)."
    )
    return draw_setup(results["autol2_wrn_schedule"], style, "Figure S10", setting)
