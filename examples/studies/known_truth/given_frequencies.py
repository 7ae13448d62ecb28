"""`refine` with the truth in the place of its calibration net: the ground-truth-conditioned control of Kassapis et al. 2021.

    python examples/studies/known_truth/given_frequencies.py -o given --seeds 0,1,2

On synthetic lesions whose readers' distribution is known, three models are trained with equal budgets:

    own      F sees the image, as in the paper
    stored   F sees the true frequencies of the classes in each pixel, as another segmenter's output (the black box)
    given    the true frequencies themselves take the place of F's output

What `given` still gets wrong is the generator's fault, what `own` gets wrong beyond that the calibration net's. It prints the
mean absolute error of the modes' probabilities on the test lesions, GED16 and the diversity of the masks.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ambiseg import train
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import Store
from ambiseg.terminal.console import plain_errors

SEGMENTERS = ("own", "stored", "given")
FIGURES = ("mode_error", "ged16_v", "sample_diversity")
SAMPLES = 256


def stores(folder: Path, crops: int) -> dict[str, Store]:
    """The same lesions without and with their true frequencies, by segmenter."""
    made = {}
    for name, frequencies in (("plain", False), ("frequencies", True)):
        path = folder / name
        made[name] = (
            Store.open(path)
            if path.exists()
            else write_known_truth(path, crops=crops, readers=None, frequencies=frequencies)
        )
    return {name: made["plain" if name == "own" else "frequencies"] for name in SEGMENTERS}


def results(
    folder: Path, crops: int, seeds: Sequence[int], steps: int | None, config: Path | None
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Train and evaluate each model from each seed; runs that are there already are finished where they were cut short."""
    for seed in seeds:
        for name, store in stores(folder, crops).items():
            path = folder / f"{name}-seed{seed}"
            run = (
                train(store, resume=path)
                if path.exists()
                else train(
                    store,
                    "refine",
                    output=path,
                    preset="known-truth",
                    config=config,
                    steps=steps,
                    seed=seed,
                    settings={"options.segmenter": name},
                )
            )
            figures = evaluate(load_trained(run.path, resolve_device("auto")), store, "test", samples=SAMPLES).figures
            yield name, seed, {figure: figures[figure].mean for figure in FIGURES}


def main() -> None:
    """Print a line per model and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("given"))
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--crops", type=int, default=1000)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--config", type=Path, help="a TOML file of settings of all trainings")
    given = parser.parse_args()
    print("segmenter  seed", *(f"{figure:>17s}" for figure in FIGURES))
    for name, seed, figures in results(given.output, given.crops, given.seeds, given.steps, given.config):
        print(f"{name:9s}{seed:6d}", *(f"{value:17.3f}" for value in figures.values()), flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
