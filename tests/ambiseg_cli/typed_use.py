"""A user's program, for type checkers: `.ci/run` has mypy check it, and nothing runs it.

If the signatures could not be seen, the mistake in its last line would pass, and mypy would say that its `type: ignore` is
unused.
"""

from pathlib import Path

import ambiseg
from ambiseg import AmbisegError, Evaluation, Run, ScanHypotheses, Store, Trained


def work(store: Store) -> float:
    run: Run = ambiseg.train(store, "probunet", steps=2)
    model: Trained = ambiseg.load_model(run.path)
    found: ScanHypotheses = ambiseg.predict("scan.nii.gz", model, at=[(1.0, 2.0, 3.0)])
    evaluation: Evaluation = ambiseg.evaluate(model, store, samples=16)
    try:
        print(ambiseg.calibrate(run.path).fit.calibration.slices.presence_shift)
    except AmbisegError as error:
        return float(error.exit_code)
    return found.lesions[0].no_lesion + evaluation.figures["ged16_v"].mean


work(ambiseg.open_store(Path("data/lidc")))
ambiseg.predict("scan.nii.gz", topp=3)  # type: ignore[call-arg]
