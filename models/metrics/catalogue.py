"""Every figure of an evaluation: its name in tables and files, what people read, and which way is better.

The distance of two masks is d = 1 - IoU as `core.overlap` defines it. Figures whose name contains 16, 50 or 100 are of
that number of draws, whatever the model is, so that models can be compared. The others are of all draws that were
requested, or of the exact weighted set (no sampling error) when the model's support is finite.
"""

from dataclasses import dataclass
from typing import Literal

DRAWS = (16, 50, 100)  # the numbers of draws at which papers give GED


@dataclass(frozen=True)
class Measure:
    """One figure: `name` in files, `label` for people (it may name {weights}, what stands behind the weighted set).

    better: which way one model is better than another; None where neither is, and where the figure asks each model another
    question, as the likelihood of choices among its own hypotheses does: a coarser list makes choices easier to foretell. The
    ECE of a list is of that kind, too: a longer one has more improbable outcomes, each of which is nearly right.
    block: the part of a table in which it stands. pooled: whether it is a figure of the whole split, not a mean of cases.
    """

    name: str
    label: str
    better: Literal["lower", "higher"] | None
    block: Literal["draws", "weighted", "top", "empty", "presence", "volume", "calibration", "truth"]
    pooled: bool = False


def _at(n: int) -> tuple[Measure, ...]:
    """The energy distance at n draws with its terms: ged_v = 2 overlap - sample diversity - reader diversity."""
    return (
        Measure(f"ged{n}_v", f"GED{n}, V-statistic (as in papers)", "lower", "draws"),
        Measure(f"ged{n}_u", f"GED{n}, unbiased", "lower", "draws"),
        Measure(f"overlap{n}", "  distance to readers", "lower", "draws"),
        Measure(f"sample_diversity{n}", "  diversity of draws", None, "draws"),
    )


CATALOGUE = (
    *(measure for n in DRAWS for measure in _at(n)),
    Measure("reader_diversity", "Diversity of readers", None, "draws"),
    Measure("hm_iou16", "HM-IoU16", "higher", "draws"),
    Measure("d_max16", "D_max of 16 draws", "higher", "draws"),
    Measure("ged_v", "GED, {weights}", "lower", "weighted"),
    Measure("ged_u", "GED, {weights}, unbiased", "lower", "weighted"),
    Measure("overlap", "  distance to readers", "lower", "weighted"),
    Measure("sample_diversity", "  diversity of masks", None, "weighted"),
    Measure("ot_iou", "Optimal-transport IoU, {weights}", "higher", "weighted"),
    Measure("top_iou", "IoU of the top hypothesis", "higher", "top"),
    Measure("top_dice", "Dice of the top hypothesis", "higher", "top"),
    Measure("best_dice", "Dice of the best hypothesis", "higher", "top"),
    Measure("top_surface_mm", "Surface distance of the top hypothesis, mm", "lower", "top"),
    Measure("empty_model", "P(empty mask), model", None, "empty"),
    Measure("empty_readers", "P(empty mask), readers", None, "empty"),
    Measure("empty_error", "  absolute difference", "lower", "empty"),
    Measure("empty_accuracy", "Accuracy on empty masks", "higher", "empty"),
    Measure("hypothesis_nll", "NLL of hypotheses, nats per reader", None, "calibration"),
    Measure("hypothesis_brier", "Brier score of hypotheses", None, "calibration"),
    Measure("hypothesis_ece", "ECE of hypotheses", None, "calibration", pooled=True),
    Measure("top_ece", "ECE of the top hypothesis", "lower", "calibration", pooled=True),
    Measure("pixel_ece", "ECE of pixels", "lower", "calibration", pooled=True),
    Measure("marked_pixel_ece", "ECE of pixels that anyone marks", "lower", "calibration", pooled=True),
    Measure("stated_pixel_ece", "ECE of pixels, stated without draws", "lower", "calibration", pooled=True),
    Measure(
        "stated_marked_pixel_ece",
        "ECE of marked pixels, stated without draws",
        "lower",
        "calibration",
        pooled=True,
    ),
    Measure("ambiguity_auroc", "AUROC, ambiguity tells that readers disagree", "higher", "calibration", pooled=True),
    Measure("mode_error", "Mode probabilities, abs. error", "lower", "truth"),
)

CASE_MEASURES = tuple(measure.name for measure in CATALOGUE if not measure.pooled)

# The figures of whole lesions. Those that images have, too, mean the same for masks that are volumes.
LESION_CATALOGUE = (
    *(measure for measure in CATALOGUE if measure.block in ("draws", "weighted", "top")),
    Measure("empty_model", "P(no lesion), model", None, "presence"),
    Measure("empty_readers", "P(no lesion), readers", None, "presence"),
    Measure("empty_error", "  absolute difference", "lower", "presence"),
    Measure("presence_brier", "Brier score of presence", "lower", "presence"),
    Measure("presence_nll", "NLL of presence, nats per reader", "lower", "presence"),
    Measure("presence_ece", "ECE of presence", "lower", "presence", pooled=True),
    Measure("presence_auroc", "AUROC of presence", "higher", "presence", pooled=True),
    Measure("volume_crps", "CRPS of volume, mm³", "lower", "volume"),
    Measure("log1p_volume_crps", "CRPS of log(1 + volume/mm³)", "lower", "volume"),
    Measure("log_volume_crps", "CRPS of log volume, if marked", "lower", "volume"),
    Measure("volume_in_50", "Readers' volumes in the 50 % interval", None, "volume"),
    Measure("volume_width_50", "  upper end over lower end", None, "volume"),
    Measure("volume_in_90", "Readers' volumes in the 90 % interval", None, "volume"),
    Measure("volume_width_90", "  upper end over lower end", None, "volume"),
    Measure("diameter_crps", "CRPS of mean diameter, mm", "lower", "volume"),
    Measure("threshold_brier", "Brier score of P(at least so large)", "lower", "volume"),
    Measure("threshold_ece", "ECE of P(at least so large)", "lower", "volume", pooled=True),
    Measure("volume_bias", "Bias of expected volume, ratio of sums", None, "volume", pooled=True),
    Measure("volume_bias_log", "  geometric mean of ratios", None, "volume", pooled=True),
    *(measure for measure in CATALOGUE if measure.name.startswith("hypothesis_") or measure.name == "top_ece"),
)
LESION_CASE_MEASURES = tuple(measure.name for measure in LESION_CATALOGUE if not measure.pooled)
LESION_CHIEF = (  # the few that say most
    "ged16_u",
    "hm_iou16",
    "ot_iou",
    "top_dice",
    "best_dice",
    "top_surface_mm",
    *(measure.name for measure in LESION_CATALOGUE if measure.block == "presence" and measure.better),
    *(measure.name for measure in LESION_CATALOGUE if measure.block == "volume"),
    "top_ece",
)
MEASURES = {measure.name: measure for measure in (*LESION_CATALOGUE, *CATALOGUE)}
