"""Good, bad and surprising cases of a model on real readers, in one picture, chosen by rules and not by hand.

    python examples/lidc_cases.py runs/NAME --data data/lidc-128-repack -o cases.png [--split val] [--each 2]

RUN is a run folder or the name of a model that comes with ambiseg. GED is that of the whole weighted set against these readers
(V-statistic; 0: the same masks equally often). Readers disagree where the masks of two of them share nothing. The rules, each
with at most one case per patient:

good    the lowest GED among the cases in which readers disagree
bad     the highest GED of all
unseen  the highest probability on one listed mask that is nearest to no reader's
sure    the most probable first mask among the cases in which readers disagree
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ambiseg
from ambiseg.models.bundle.find import find_model
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.evaluation import Case
from ambiseg.models.figures.chosen import case_panels
from ambiseg.models.figures.panels import draw_cases
from ambiseg.models.figures.style import png
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.store.store import Store

GED = "ged_v"
LISTED = 4  # masks shown in the picture
SAMPLES = 100


@dataclass(frozen=True)
class Rule:
    """A rule for showing cases: of the cases that it applies to, those with the highest value."""

    name: str
    about: Callable[[Case], bool]
    most: Callable[[Case], float]


RULES = (
    Rule("good", lambda case: case.disagree, lambda case: -case.scores[GED]),
    Rule("bad", lambda case: True, lambda case: case.scores[GED]),
    Rule("unseen", lambda case: unseen(case) > 0, lambda case: unseen(case)),
    Rule("sure", lambda case: case.disagree, lambda case: case.outcome.probabilities[0]),
)


def unseen(case: Case) -> float:
    """The largest probability of a shown mask that is nearest to no reader's; 0 where there is none."""
    shown = slice(min(LISTED, len(case.outcome.hits) - 1))
    probabilities, hits = case.outcome.probabilities[shown], case.outcome.hits[shown]
    return float(max(probabilities[hits == 0], default=0.0))


def chosen(cases: Sequence[Case], each: int) -> Iterator[tuple[str, Case]]:
    """At most `each` cases per rule, by the rule's name. No patient appears twice under a rule and no case twice at all."""
    taken: set[str] = set()
    for rule in RULES:
        patients: set[str] = set()
        for case in sorted(filter(rule.about, cases), key=rule.most, reverse=True):
            if len(patients) < each and case.index["patient"] not in patients and case.index["row"] not in taken:
                patients.add(case.index["patient"])
                taken.add(case.index["row"])
                yield rule.name, case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("cases.png"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--each", type=int, default=2, help="cases per rule")
    parser.add_argument("--limit", type=int, help="use only this many cases of the split")
    options = parser.parse_args()
    store = Store.open(options.data)
    trained = load_trained(find_model(options.run), resolve_device())
    evaluation = evaluate(trained, store, options.split, samples=SAMPLES, limit=options.limit)
    named = list(chosen(evaluation.cases, options.each))
    panels = [
        replace(panel, name=f"{name}, {panel.name}", distance=case.scores[GED])
        for panel, (name, case) in zip(
            case_panels(trained, store, evaluation, [case for _, case in named]), named, strict=True
        )
    ]
    about = evaluation.about
    note = (
        f"{about.run} on {about.data}, {options.split}, {about.cases:,} cases; above a hypothesis its probability, "
        "and the share of readers nearest to it"
    )
    picture = png(draw_cases(panels, "Good, bad and surprising cases", note))
    with whole_file(options.output) as aside:
        aside.write_bytes(picture)
    for panel in panels:
        print(f"{panel.name}: GED {panel.distance:.3f}")
    print(f"Written: {options.output}")


if __name__ == "__main__":
    try:
        main()
    except ambiseg.AmbisegError as error:
        raise SystemExit(f"Error: {error}") from None
