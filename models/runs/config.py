"""The settings of a training run: a preset, the user's TOML file, single settings and flags, each over those before it.

An unknown key or a bad value becomes one sentence that names it.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import DataError, InputError, UsageError

from ..core.bounds import LARGEST_CROP, MOST_PARTS
from ..methods.constructor import first_problem, options_model
from ..methods.registry import check_options, find_method
from .normalise import Centre

DEEPEST = 20  # levels of tables and lists within each other: more is no settings file
LONG = 200  # characters of what is wrong with a file


class Section(BaseModel):
    """A frozen group of settings that knows no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSettings(Section):
    """What of the data set each training step sees."""

    crop: int = Field(128, ge=8, le=LARGEST_CROP, description="side of the training crop in pixels")
    readers: int = Field(1, ge=1, le=MOST_PARTS, description="readers drawn for each image of a batch")
    window: tuple[float, float] | Literal["auto", "crop"] = Field(
        "auto", description="intensities that become 0 and 1; auto: by the data's unit; crop: each crop's own range"
    )
    centre: Centre | Literal["auto"] = Field(
        "none",
        description="where the networks' inputs are 0: at the window's lower end (none); in its middle (half); at each crop's "
        "own mean, and then in units of its standard deviation (crop); auto: half for HU, else crop",
    )
    memory: Literal["auto", "device", "mapped"] = Field("auto", description="data on the device, or read from disk")


class AugmentSettings(Section):
    """Random changes of image and masks; zero means none."""

    flip: Literal["none", "horizontal", "all"] = Field(
        "all", description="mirror left and right; all: also up and down, and swap the axes; each at even odds"
    )
    rotate_deg: float = Field(0.0, ge=0, description="rotation up to this angle")
    scale: float = Field(0.0, ge=0, lt=1, description="zoom by up to this fraction")
    shift_px: float = Field(0.0, ge=0, description="translation up to this many pixels")
    elastic_px: float = Field(0.0, ge=0, description="standard deviation of a smooth displacement")
    gain: float = Field(0.0, ge=0, description="standard deviation of the log of an intensity factor")
    offset: float = Field(0.0, ge=0, description="standard deviation of an intensity offset (image in 0..1)")
    squeeze: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="most of the range that is lost, as to something brighter or darker outside the crop",
    )


class TeacherSettings(Section):
    """A trained model whose draws are learned from in the place of the readers' masks."""

    model: str = Field("", description="folder of the teacher; empty: learn from the readers")
    weights: str = Field("", description="SHA-256 of its weights; filled in when a run is started")
    draws: int = Field(16, ge=1, le=MOST_PARTS, description="masks that it draws, once, for each training crop")
    readers: float = Field(0.0, ge=0, lt=1, description="share of the masks that still are readers'")
    other_data: bool = Field(False, description="accept a teacher that learned from another data set")


class StartSettings(Section):
    """A trained model whose weights a run starts from, where their shapes fit."""

    model: str = Field("", description="folder of the model; empty: start from random weights")
    weights: str = Field("", description="SHA-256 of its weights; filled in when a run is started")
    frozen: tuple[str, ...] = Field(
        (), description="names of parts that stay as they are, e.g. prior.blocks; * stands for anything"
    )


class Stretch(Section):
    """A continuation of a run for more steps than it was started for."""

    planned: int = Field(ge=1, description="steps of the run before")
    begin: int = Field(ge=1, description="the step from which it goes on, with the learning rate's schedule anew")


class OptimiserSettings(Section):
    """Adam and its schedule."""

    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-5, ge=0)
    betas: tuple[float, float] = Field((0.9, 0.999), description="Adam's averaging of gradients and their squares")
    schedule: Literal["constant", "cosine", "steps"] = Field(
        "constant", description="learning rate over the steps of a stage"
    )
    milestones: tuple[tuple[float, float], ...] = Field(
        (), description="for steps: from this share of the stage on, the rate times this factor"
    )
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    clip: float = Field(0.0, ge=0, description="largest gradient norm; 0: no clipping")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are evaluated; 0: none")


class ValidationSettings(Section):
    """How often and how the run is judged, and when it stops early."""

    every: int = Field(1000, ge=1, description="steps between validations")
    limit: int = Field(200, ge=1, description="validation crops used, drawn once by the seed")
    samples: int = Field(16, ge=2, description="draws per image for GED")
    monitor: Literal["ged", "loss", "none"] = Field(
        "ged",
        description="what decides which weights are kept; none: the last ones, and validation crops are not needed",
    )
    patience: int = Field(0, ge=0, description="validations without improvement before stopping; 0: never")


class HardwareSettings(Section):
    """How the arithmetic is done."""

    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        "auto", description="of the networks in training; auto: bf16 where the device has units for it"
    )
    channels_last: bool = Field(True, description="memory format of images and weights; faster on CPU and CUDA")
    compile: bool = Field(False, description="torch.compile the networks")
    graphs: bool = Field(False, description="run the networks as CUDA graphs")


class TrainConfig(Section):
    """Everything that decides what a run learns."""

    method: str
    preset: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    steps: int = Field(10000, ge=1)
    batch: int = Field(32, ge=1, description="images per step, over all processes")
    seed: int = Field(0, ge=0, lt=2**63)
    data: DataSettings = DataSettings()
    teacher: TeacherSettings = TeacherSettings()
    start: StartSettings = StartSettings()
    continued: tuple[Stretch, ...] = ()
    augment: AugmentSettings = AugmentSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    validation: ValidationSettings = ValidationSettings()
    hardware: HardwareSettings = HardwareSettings()


def presets() -> dict[str, str]:
    """Names of the presets and what each is for."""
    files = sorted(resources.files("ambiseg.models.runs.presets").iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text(encoding="utf-8"))["description"]
        for file in files
        if file.name.endswith(".toml")
    }


def make_config(
    method: str,
    preset: str,
    file: Path | None = None,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """The settings of a run: the preset, overlaid by a starting model's (`base`), by a TOML file, by settings `a.b=value`
    and by flags (None: not given).

    A preset's `options` go to every method that has options of these names. Its table `for.<method>`, and the file's, hold
    what is meant for that method alone.
    """
    method = find_method(method).name
    merged = _preset(preset, method)
    layers = [_for_method(_read_toml(file), method) if file else {}, *(_setting(text) for text in settings)]
    layers += [_nested(key.split("."), value) for key, value in (flags or {}).items() if value is not None]
    for layer in [dict(base or {}), *layers]:
        merged = _overlay(merged, layer)
    merged |= {"method": method, "preset": preset}
    options = merged.get("options", {})
    if not isinstance(options, dict):
        raise UsageError(
            f"Option 'options' of train: expected a table of the method's options, got {shown(repr(options))}."
        )
    merged["options"] = check_options(method, options)
    try:
        return TrainConfig.model_validate(merged)
    except ValidationError as error:
        raise UsageError(first_problem(error, "train", _known_keys(error))) from error


def _known_keys(error: ValidationError) -> list[str]:
    section: Any = TrainConfig
    for part in error.errors()[0]["loc"][:-1]:
        known = getattr(section, "model_fields", {})
        section = known[part].annotation if part in known else None
    return sorted(getattr(section, "model_fields", ()))


def _preset(name: str, method: str) -> dict[str, Any]:
    if name not in presets():
        raise UsageError(f"No preset {name!r}: expected one of {', '.join(presets())}.")
    text = (resources.files("ambiseg.models.runs.presets") / f"{name}.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    del values["description"]
    known = options_model(find_method(method)).model_fields
    values["options"] = {key: value for key, value in values.get("options", {}).items() if key in known}
    return _for_method(values, method)


def _for_method(values: dict[str, Any], method: str) -> dict[str, Any]:
    """Settings with the table `for.<method>` laid over the rest, and the tables of other methods left out."""
    tables = values.pop("for", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError("Settings `for` a method are tables: write them below [for.METHOD].")
    for name in tables:
        find_method(name)
    return _overlay(values, tables.get(method, {}))


def _read_toml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InputError(
            f"No settings file {file}: expected a TOML file with the keys that `print_config` of `ambiseg train` prints."
        )
    try:
        return _toml(file.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not TOML: expected text in UTF-8; save it so.") from error
    except ValueError as error:
        raise DataError(f"{file} is not TOML: {shown(str(error), LONG)}.") from error


def _toml(text: str) -> dict[str, Any]:
    """A TOML document as plain values. Raises ValueError for anything else, and for tables within tables without end."""
    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"values lie in each other deeper than {DEEPEST} levels") from error
    if _deeper(values, DEEPEST):
        raise ValueError(f"values lie in each other deeper than {DEEPEST} levels")
    return values


def _deeper(value: Any, levels: int) -> bool:
    """Whether tables and lists lie in each other deeper than so many levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inner) and (levels == 0 or any(_deeper(one, levels - 1) for one in inner))


def _setting(text: str) -> dict[str, Any]:
    """`a.b=value` as nested tables; the value is read as TOML, or as text where it is none."""
    key, equals, value = text.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path) or len(path) > DEEPEST:
        raise UsageError(
            f"Setting {shown(repr(text))} cannot be read: expected KEY=VALUE, e.g. optimiser.learning_rate=3e-4."
        )
    try:
        parsed = _toml(f"value = {value}")["value"]
    except ValueError:
        parsed = value
    return _nested(path, parsed)


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged
