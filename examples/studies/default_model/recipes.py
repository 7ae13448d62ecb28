"""What is tried for the default model: each recipe changes one thing of the base, or a few that belong together."""

from ambiseg.models.benchmarks.trials.entries import Entry

BASE = {"widths": [16, 32, 64, 128], "norm": True}
DEEP = [16, 32, 64, 96, 128, 128]
ALL_THREE = {"widths": DEEP, "norm": "each"}  # with STANDARDISED
WIDE_AND_DEEP = [24, 48, 96, 128, 192, 192]
TRAINED = {"optimiser.ema": 0.998, "data.centre": "none"}
STANDARDISED = {"data.centre": "crop"}
STRONG = {"augment.rotate_deg": 30.0, "augment.scale": 0.1, "augment.gain": 0.2}


def recipe(name: str, /, method: str = "gated", settings: dict[str, object] | None = None, **options: object) -> Entry:
    """A recipe with some options and settings of its own."""
    return Entry(name, method, {**BASE, **options}, {**TRAINED, **(settings or {})})


RECIPES = (
    recipe("base"),  # as `lidc-gated` was trained
    recipe("one-component", components=1),
    recipe("heavy-kl", beta=3.0),
    recipe("one-heavy", components=1, beta=3.0),
    recipe("wide", widths=[24, 48, 96, 192], gate_width=32),
    recipe("deep", widths=DEEP),
    recipe("three-convs", convs=3),
    recipe("norm-each", norm="each"),
    recipe("centred", settings={"data.centre": "half"}),
    recipe("standardised", settings=STANDARDISED),
    recipe("all-three", **ALL_THREE, settings=STANDARDISED),
    recipe("low-rank-logits", shapes="ssn"),
    recipe("wide-field", settings={"data.crop": 96}),
    recipe("all-readers", shape_readers=4),
    recipe("one-reader", shape_readers=1),
    recipe("fast-rate", settings={"optimiser.learning_rate": 2e-3}),
    recipe("long-average", settings={"optimiser.ema": 0.9995}),  # as base in 1,000 steps: averages grow with the steps
    recipe("strong-augment", settings=STRONG),
    recipe("squeezed", settings={"augment.squeeze": 0.5}),
    recipe("experts", method="mose"),
    recipe("experts-all-three", method="mose", **ALL_THREE, settings=STANDARDISED),
    recipe("deep-standardised", widths=DEEP, settings=STANDARDISED),
    recipe("deep-heavy", widths=DEEP, beta=3.0),
    recipe("deep-fast", widths=DEEP, settings={"optimiser.learning_rate": 2e-3}),
    recipe(
        "all-that-gained",
        widths=DEEP,
        shape_readers=4,
        settings={"data.centre": "crop", "optimiser.learning_rate": 2e-3},
    ),
    recipe("deep-wide", widths=WIDE_AND_DEEP, gate_width=32),
    recipe("all-three-augmented", **ALL_THREE, settings=STANDARDISED | STRONG),
    recipe("all-three-augmented-heavy", **ALL_THREE, beta=3.0, settings=STANDARDISED | STRONG),
    recipe("all-three-wide", widths=WIDE_AND_DEEP, gate_width=32, norm="each", settings=STANDARDISED),
)

FINALISTS = ("base", "deep", "all-three")  # trained as long as all recipes are, but from three seeds
CANDIDATES = ("all-three", "all-three-augmented", "all-three-augmented-heavy", "experts-all-three")  # trained for long
