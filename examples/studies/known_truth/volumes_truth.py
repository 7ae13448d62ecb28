"""Volumes whose truth is known: does a trained model's probability of a whole lesion hold?

    python examples/studies/known_truth/volumes_truth.py -o known-volumes --steps 1500

Makes synthetic lesions of several slices. A lesion fades with its contrast and towards its ends. Readers come from a known
distribution: each marks the lesion with a probability that rises with its contrast, marks slices from a first to a last one,
which depend on how they fade and on the reader, and draws discs that are larger or smaller than the lesion by a factor of the
reader's own. A store has four such readers per lesion, and all slices of it, marked or not. A gated model is trained on it,
calibrated on validation lesions, and judged on test lesions, whose probabilities it has never seen:

    presence     the stated probability of a lesion against the true one
    hypotheses   the listed volumes' probabilities against 100 fresh readers from the true distribution: ECE, reliability
    volumes      how many fresh readers' volumes lie in the stated 50 and 90 % intervals

(In a store of marked slices alone, as real ones are, readers are those of lesions that one of four marked; fresh readers mark
such lesions less often. So that truth would not be this one.) --steps, --lesions and --seed change the run.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from ambiseg import train
from ambiseg.models.calibration.calibrate_run import calibrate
from ambiseg.models.core.hypotheses import rank
from ambiseg.models.core.overlap import marked_counts
from ambiseg.models.lesions.lesion_masks import drawn_lesion
from ambiseg.models.metrics.outcomes import outcome
from ambiseg.models.metrics.reliability import binned, together
from ambiseg.models.metrics.volume_scores import weighted_quantiles
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.store.intensity import BYTES
from ambiseg.preprocessing.store.lesion_rows import lesions_of
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store
from ambiseg.terminal.console import plain_errors

SIZE, READERS, FRESH = 32, 4, 100
STEP_MM, PIXEL_MM = 2.0, 0.7
Y, X = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2


@dataclass(frozen=True)
class Made:
    """A made lesion: its contrast, the radius (pixels) and the fading of each slice [Z]."""

    contrast: float
    radii: NDArray[np.float64]
    fading: NDArray[np.float64]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Made":
        """A lesion of three to seven slices."""
        half, radius = int(rng.integers(1, 4)), rng.uniform(4, 8)
        z = np.arange(-half, half + 1)
        return cls(rng.uniform(0.2, 1), radius * np.sqrt(1 - (z / (half + 0.7)) ** 2), 1 - 0.5 * (z / half) ** 2)

    @property
    def presence(self) -> float:
        """The probability that a reader marks the lesion."""
        return float(expit(8 * (self.contrast - 0.5)))

    def images(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The slices [Z, H, W]: discs with soft edges on a noisy ground."""
        discs = expit((self.radii[:, None, None] - np.hypot(Y, X)) / 1.2)
        signal = self.contrast * self.fading[:, None, None] * discs
        return np.clip(60 + 150 * signal + rng.normal(0, 6, discs.shape), 0, 255).astype(np.uint8)

    def readers(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """What readers mark [R, Z, H, W]."""
        marks = rng.random(count) < self.presence
        extent = expit(9 * (self.contrast * self.fading - 0.45))
        seen = rng.random(count)[:, None] * extent.max() < extent
        factor = np.exp(rng.normal(0, 0.2, count))
        discs = np.hypot(Y, X) < (factor[:, None] * self.radii)[:, :, None, None]
        return (discs & (seen & marks[:, None])[:, :, None, None]).astype(np.uint8)


def write(path: Path, lesions: int, rng: np.random.Generator) -> list[Made]:
    """A store of lesions, one per patient: 60 % to train, 20 % each to validate and test. Returns the lesions."""
    info = StoreInfo(
        "volumes-truth", "synthetic lesions of known readers", BYTES, spacing_mm=PIXEL_MM, same_readers=True
    )
    splits = {f"p{n:04d}": ("train", "train", "train", "val", "test")[n % 5] for n in range(lesions)}
    kept = []
    with write_store(path, info, splits) as writer:
        for patient in splits:
            made = Made.drawn(rng)
            masks, images = made.readers(READERS, rng), made.images(rng)
            kept.append(made)
            for z, image in enumerate(images):
                writer.add(Crop(image[None], masks[:, z], patient, patient, lesion="0", slice=z, z_mm=z * STEP_MM))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("known-volumes"))
    parser.add_argument("--lesions", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    made = write(options.output / "data", options.lesions, rng)
    store = Store.open(options.output / "data")
    run = train(
        store, "gated", output=options.output / "run", preset="known-truth", steps=options.steps, seed=options.seed,
        device="cpu",
    )  # fmt: skip
    trained = load_trained(run.path, torch.device("cpu"), calibrated=False)
    before = trained
    trained = replace(trained, calibration=calibrate(trained, store).calibration)
    print("| | presence, mean error | ECE of hypotheses | ECE of the first | in 50 % | in 90 % |")
    print("|---" * 6 + "|")
    for name, model in (("as stated", before), ("calibrated", trained)):
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in judged(model, store, made, options.seed)) + " |")


def judged(trained, store: Store, made: list[Made], seed: int) -> tuple[float, ...]:
    """The figures of the test lesions: mean error of presence, both ECE, and the coverage of both intervals."""
    rng, errors, bins, first, held = np.random.default_rng(seed + 1), [], [], [], []
    for lesion in lesions_of(store, store.rows("test")):
        known = made[int(lesion.patient[1:])]
        atoms = drawn_lesion(trained, store, lesion, 256, seed, trained.record.crop)
        sizes, weights = marked_counts(atoms.labels), atoms.weights
        if trained.calibration is not None:
            weights = trained.calibration.of_volumes.weights(weights, sizes)
        fresh = known.readers(FRESH, rng)
        chosen = outcome(rank(atoms.labels, weights, draws=atoms.draws), fresh, np.full(FRESH, 1 / FRESH))
        bins.append(binned(chosen.probabilities, chosen.hits))
        first.append(binned(chosen.probabilities[:1], chosen.hits[:1]))
        marked, volumes = sizes > 0, marked_counts(fresh)
        stated = float(weights[marked].sum())
        errors.append(abs(stated - known.presence))
        low, below, above, high = weighted_quantiles(
            sizes[marked].astype(float), weights[marked] / stated, (0.05, 0.25, 0.75, 0.95)
        )
        drawn = volumes[volumes > 0]
        held.append((((drawn >= below) & (drawn <= above)).mean(), ((drawn >= low) & (drawn <= high)).mean()))
    inner, outer = np.nanmean(held, 0)
    return float(np.mean(errors)), together(bins).ece, together(first).ece, float(inner), float(outer)


if __name__ == "__main__":
    with plain_errors():
        main()
