"""The model card, README.md: what a model is, its data, its training, how good it is, and its limits."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ambiseg.preprocessing.counted import counted

from ..evaluation.folds import FOLDS
from ..evaluation.summary_document import EvaluationAbout
from ..figures.numbers import decimals, interval
from ..figures.wording import weights_of
from ..metrics.catalogue import MEASURES
from ..runs.normalise import window_text
from ..runs.run_record import RunRecord
from .metadata import DESCRIPTION, PURPOSE, image_text, spacing_text
from .run_facts import Facts

SHOWN = (
    "ged16_v", "ged16_u", "hm_iou16", "ot_iou", "top_dice", "best_dice", "empty_accuracy", "hypothesis_ece", "top_ece",
    "marked_pixel_ece", "stated_marked_pixel_ece", "ambiguity_auroc", "mode_error",
)  # fmt: skip
CENTRES = {
    "none": "",
    "half": ", as -1 to 1",
    "crop": ", then each channel of a crop with mean 0 and standard deviation 1",
}
CHECKED = {
    "nll": "NLL, nats per reader",
    "brier": "Brier score",
    "ece": "ECE of hypotheses",
    "top_ece": "ECE of the top hypothesis",
}


def model_card(facts: Facts) -> str:
    """Markdown text of the card."""
    sections = (_head, _use, _data, _training, _evaluation, _calibration, _limits, _references)
    return "\n".join(line for section in sections for line in (*section(facts), "")).rstrip("\n") + "\n"


def _head(facts: Facts) -> Iterable[str]:
    said, trained = facts.said, facts.trained
    data = trained.record.data
    yield f"# {said.name}"
    yield ""
    yield said.description or DESCRIPTION
    yield ""
    yield f"**{PURPOSE}**"
    yield ""
    numbers = sum(parameter.numel() for parameter in trained.method.parameters())
    yield from _table(
        {
            "version": said.version,
            "method": f"`{trained.record.method}`, {trained.method.summary}",
            "input": image_text(data) + (", and another segmenter's class probabilities" if data.probabilities else ""),
            "pixels": f"{spacing_text(data)}, crops of {trained.record.crop} x {trained.record.crop}",
            "classes": ", ".join(data.class_names),
            "weights": f"{numbers:,} numbers, {'half precision' if facts.half else 'single precision'}",
            "SHA-256 of the weights": f"`{facts.weights_hash}`",
            "authors": said.authors or "not stated",
            "licence": said.licence.name,
            "made with": f"ambiseg {trained.record.version}, PyTorch {trained.record.torch}",
        }
    )


def _use(facts: Facts) -> Iterable[str]:
    name = facts.said.name
    yield from (
        "## How to use it",
        "",
        "```sh",
        f"ambiseg model install {name}.zip        # the file that contains this card",
    )
    yield from (f"ambiseg predict scan.nii.gz --model {name}", "```")


def _data(facts: Facts) -> Iterable[str]:
    data = facts.trained.record.data
    yield from ("## What it learned from", "")
    yield f"The data set `{data.name}`, content hash `{data.content_hash}`."
    if facts.source:
        yield f"Its source: {facts.source}."
    if not facts.counts:
        yield "The numbers of its patients and crops were not known when the model was exported."
        return
    yield from ("", "| split | patients | lesions | crops |", "|---|---|---|---|")
    yield from (f"| {split} | {' | '.join(f'{n:,}' for n in counts)} |" for split, counts in facts.counts.items())


def _training(facts: Facts) -> Iterable[str]:
    yield from ("## How it was trained", "")
    yield from _table(_settings(facts.trained.record))


def _settings(record: RunRecord) -> dict[str, str]:
    """The settings of a training, in words."""
    config = record.config
    optimiser, augment = config.optimiser, config.augment
    changes = [f"{name} {value}" for name, value in augment.model_dump().items() if value not in (0, "none")]
    options = ", ".join(f"{name} = {value}" for name, value in config.options.items() if value is not None)
    return {
        "preset": config.preset or "none",
        "options": options,
        "steps": f"{config.steps:,} of {counted(config.batch, 'image')}, {counted(config.data.readers, 'reader')} drawn "
        "for each",
        "teacher": f"{config.teacher.draws} masks per crop, drawn by {Path(config.teacher.model).name} (weights "
        f"{config.teacher.weights[:12]}), {config.teacher.readers:.0%} of the masks from readers"
        if config.teacher.model
        else "none: the masks are readers'",
        "optimiser": f"Adam at {optimiser.learning_rate:g}, weight decay {optimiser.weight_decay:g}, {optimiser.schedule}",
        "averaged weights": f"decay {optimiser.ema:g} per step" if optimiser.ema else "no",
        "random changes": ", ".join(changes) or "none",
        "intensity window": window_text(record.window) + CENTRES[record.centre],
        "seed": str(config.seed),
    }


def _evaluation(facts: Facts) -> Iterable[str]:
    yield from ("## How good it is", "")
    if facts.evaluation is None:
        yield "It was not evaluated: nothing is known about how close its masks are to the readers' masks."
        return
    about = facts.evaluation.about
    cases = f"{counted(about.cases, 'crop')} of {counted(len(set(facts.evaluation.patients)), 'patient')}"
    yield (
        f"{f'On `{about.data}`' if about.split == FOLDS else f'On the split `{about.split}` of `{about.data}`'}: {cases}, "
        f"{weights_of(about)}. {_caveat(about)}"
        + ("The weights were not yet rounded. " if facts.rounded else "")
        + ("Probabilities are calibrated. " if about.calibrated else "Probabilities are the model's own. ")
        + "Intervals are 95 % bootstrap by patient."
    )
    yield from ("", "| figure | mean | 95 % interval | better |", "|---|---|---|---|")
    for name in SHOWN:
        stored = about.figures.get(name)
        if stored is not None and stored.mean is not None:
            found = stored.figure
            label = MEASURES[name].label.format(weights=weights_of(about)).strip()
            yield f"| {label} | {decimals(found.mean)} | {interval(found)} | {MEASURES[name].better or '-'} |"
    yield from ("", f"Distance of two masks: {about.estimators['distance']}.")


def _caveat(about: EvaluationAbout) -> str:
    """What figures of a split are worth, with a space after it; "" for those of a split that was kept back."""
    if about.split == FOLDS:
        return f"{about.notes[0]} "
    return (
        "The validation split also chose the weights, so these figures are optimistic. " if about.split == "val" else ""
    )


def _calibration(facts: Facts) -> Iterable[str]:
    fitted = facts.trained.calibration
    yield from ("## Calibration", "")
    if fitted is None:
        yield "None: the probabilities are the model's own, as it draws."
        return
    where = (
        "out of fold, on patients that the models of a cross-validation did not see"
        if fitted.split == FOLDS
        else f"on the split `{fitted.split}`"
    )
    yield f"Fitted {where}, {counted(fitted.samples, 'mask')} each. Single slices: {fitted.slices}."
    if fitted.lesions is not None:
        yield f"Volumes of lesions: {fitted.lesions}."
    if facts.check is None:
        return
    for kind, pair in (("slices", facts.check.slices), ("lesions", facts.check.lesions)):
        if pair is None:
            continue
        checked = "out of fold" if facts.check.checked_on == FOLDS else f"of `{facts.check.checked_on}`"
        yield from ("", f"| {kind} {checked}, lower is better | before | after |", "|---|---|---|")
        for name, label in CHECKED.items():
            means = (getattr(judged.figures, name).figure for judged in (pair.before, pair.after))
            yield f"| {label} | " + " | ".join(f"{decimals(one.mean)} ({interval(one)})" for one in means) + " |"


def _limits(facts: Facts) -> Iterable[str]:
    record = facts.trained.record
    spacing = record.data.spacing_mm
    side = record.crop if spacing is None else f"{record.crop * spacing:g}"
    yield from ("## Limits", "")
    yield "- Its masks and probabilities predict what readers like those of its data would draw, not what is true."
    yield "- It was not tested on scanners, protocols, organs, lesions or readers other than its data's, unless stated above."
    yield f"- It sees single slices of {side} x {side} {'pixels' if spacing is None else 'mm'}: the rest is cut off."
    extent = facts.trained.extent
    if extent is not None and extent.among is not None:
        yield (
            "- Its data hold only slices that a reader marked. It has not learned what lesions look like that nobody marked, "
            "nor slices beyond the ends of what was marked."
        )
    if facts.evaluation is not None and facts.evaluation.about.split == FOLDS:
        yield "- It was trained on every patient of its data: none is left on which it could be judged itself."
    if facts.trained.calibration is None:
        yield "- It is not calibrated: a probability may differ greatly from the share of readers."
    if facts.evaluation is None:
        yield "- It was not evaluated."


def _references(facts: Facts) -> Iterable[str]:
    yield from ("## References", "")
    yield from (f"- {reference}." for reference in type(facts.trained.method).references)


def _table(rows: Mapping[str, str]) -> Iterable[str]:
    yield from ("| | |", "|---|---|")
    yield from (f"| {name} | {text.replace('|', chr(92) + '|')} |" for name, text in rows.items())
