"""The entries that the benchmarks compare: every method, and the variants that the papers' findings concern."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ambiseg.preprocessing.errors import UsageError

from ...runs.config import TrainConfig, make_config


@dataclass(frozen=True)
class Entry:
    """A method with some of its options, under a name that also names its run folder.

    settings: what else of the training is its own, by dotted keys such as "data.readers".
    """

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(self, preset: str, seed: int, settings: Sequence[str], flags: Mapping[str, Any]) -> TrainConfig:
        """The settings of a training from `seed`: the entry's own stand above `settings` and below `flags`."""
        own = {f"options.{key}": value for key, value in self.options.items()} | dict(self.settings)
        return make_config(self.method, preset, settings=settings, flags={**own, **flags, "seed": seed})


ENTRIES = (
    Entry("dropout", "dropout"),
    Entry("ensemble", "ensemble"),
    Entry("mheads", "mheads"),
    Entry("mheads-gate", "mheads", {"gate": "learned"}),
    Entry("gated", "gated"),
    Entry("gated-ssn", "gated", {"shapes": "ssn"}),
    Entry("mose", "mose"),
    Entry("ssn", "ssn"),
    Entry("ssn-diagonal", "ssn", {"covariance": "diagonal"}),
    Entry("phiseg", "phiseg"),
    Entry("phiseg-one-map", "phiseg", {"latents": 1}),
    Entry("hpu", "hpu"),
    Entry("ccdm", "ccdm"),
    Entry("image2image-vae", "image2image-vae"),
    Entry("probunet", "probunet"),
    Entry("probunet-fixed-prior", "probunet", {"prior": "fixed"}),
    Entry("probunet-mask-posterior", "probunet", {"posterior": "mask"}),
    Entry("probunet-early", "probunet", {"injection": "early"}),
    Entry("generalized-axis", "generalized", {"family": "axis"}),
    Entry("generalized-full", "generalized", {"family": "full"}),
    Entry("generalized-low-rank", "generalized", {"family": "low-rank"}),
    Entry("generalized-mixture-axis", "generalized", {"family": "mixture-axis"}),
    Entry("generalized-mixture-full", "generalized", {"family": "mixture-full"}),
    Entry("modal", "modal"),
    Entry("modal-no-norm", "modal", {"norm": False}),
    Entry("refine", "refine"),
    Entry("refine-cross-entropy", "refine", {"calibration": "cross-entropy"}),
    Entry("refine-vae", "refine", {"latent": "vae"}),
    Entry("refine-vae-kl", "refine", {"latent": "vae", "calibration": "cross-entropy"}),  # Kassapis et al. 2021, eq. 20
)

ON_REQUEST = (  # trained only where they are named
    *(
        Entry(f"refine-vae-kl-{beta:g}", "refine", {"latent": "vae", "calibration": "cross-entropy", "beta": beta})
        for beta in (0.1, 10.0)  # with "refine-vae-kl" table 4 of Kassapis et al. 2021
    ),
    *(Entry(f"refine-{draws}-samples", "refine", {"samples": draws}) for draws in (1, 5, 10, 15, 20)),  # its table 3
    Entry("refine-released", "refine", {"discriminator": "released"}),  # as in its authors' code
    Entry("ensemble-16", "ensemble", {"members": 16}),  # the sizes of Kohl et al. 2018
    Entry("mheads-16", "mheads", {"heads": 16}),
    Entry("image2image-vae-norm", "image2image-vae", {"norm": True}),
)

LIDC_ENTRIES = tuple(  # the most telling first, as a budget may end before they do
    next(entry for entry in ENTRIES if entry.name == name)
    for name in (
        "gated",
        "mose",
        "ssn",
        "gated-ssn",
        "generalized-mixture-full",
        "modal",
        "probunet",
        "phiseg",
        "hpu",
        "mheads-gate",
        "generalized-mixture-axis",
        "generalized-axis",
        "generalized-full",
        "generalized-low-rank",
        "refine",
        "refine-cross-entropy",
        "mheads",
        "dropout",
        "ensemble",
        "image2image-vae",
    )
)


def choose_entries(names: Sequence[str], among: Sequence[Entry] = ENTRIES) -> tuple[Entry, ...]:
    """The entries of these names, in the benchmark's order; a method that is no entry's name stands for all of its entries.

    Entries that are trained only on request come last. Raises UsageError for a name that is neither.
    """
    asked = tuple(entry for entry in ON_REQUEST if entry.name in names)
    names = [name for name in names if name not in {entry.name for entry in asked}]
    entries, methods = {entry.name for entry in among}, {entry.method for entry in among}
    for name in names:
        if name not in entries | methods:
            known = ", ".join(entry.name for entry in (*among, *ON_REQUEST))
            raise UsageError(f"No benchmark entry {name!r}: expected {known}, or a method.")
    whole = set(names) - entries
    return (*(entry for entry in among if entry.name in names or entry.method in whole), *asked)


def order(name: str) -> int:
    """The place of an entry in tables; one of another version comes last."""
    names = [entry.name for entry in (*ENTRIES, *ON_REQUEST)]
    return names.index(name) if name in names else len(names)
