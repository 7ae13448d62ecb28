"""A lesion's hypotheses from Python: what they are, where they differ, and what a volume report would say about them.

python examples/predict_scan.py scan.nii.gz --model runs/generalized-001 --at -52.5 31.0 -140.2
"""

import argparse

import numpy as np

import ambiseg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan")
    parser.add_argument("--model")
    parser.add_argument("--at", type=float, nargs=3, metavar=("X", "Y", "Z"))
    options = parser.parse_args()
    model = ambiseg.load_model(options.model)
    found = ambiseg.predict(options.scan, model, at=[options.at] if options.at else [])
    for lesion, figures in zip(found.lesions, found.figures["lesions"], strict=True):
        print(f"Lesion {figures['number']} at {figures['centre_mm']} mm, P(no lesion) {lesion.no_lesion:.0%}")
        key = "volume_mm3" if "volume_mm3" in figures["hypotheses"][0] else "area_mm2"
        sizes = np.array([entry[key] for entry in figures["hypotheses"]])
        for rank, size in enumerate(sizes, start=1):
            probability = lesion.hypotheses.probabilities[rank - 1]
            print(f"  hypothesis {rank}: {probability:6.1%}  {size:8.0f} {key}")
        mean = np.average(sizes, weights=lesion.hypotheses.probabilities)
        marked = np.asarray(found.mask(1, figures["number"]).dataobj) > 0
        print(f"  the first marks {marked.sum()} of the scan's {marked.size} voxels")
        print(f"  expected {key} of the listed masks: {mean:.0f}")


if __name__ == "__main__":
    try:
        main()
    except ambiseg.AmbisegError as error:
        raise SystemExit(f"Error: {error}") from None
