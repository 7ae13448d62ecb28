"""hypotheses.json: what is written is read back, by later versions too, and the reference lists its keys."""

import json
from pathlib import Path

import pytest

import ambiseg
from ambiseg.models.prediction.document import (
    CalibrationEntry,
    Document,
    HypothesisEntry,
    LesionEntry,
    ModelEntry,
    ScanEntry,
    reference,
)
from ambiseg.models.prediction.inference import Ranking
from ambiseg.models.results.result_documents import write_numbers
from ambiseg.preprocessing.errors import DataError, InputError


@pytest.fixture
def document() -> Document:
    """One lesion with one hypothesis, as a calibrated model gives it."""
    hypothesis = HypothesisEntry(
        rank=1, file="hyp_01.nii.gz", probability=0.75, interval=(0.7, 0.8), volume_mm3=120.5, long_axis_mm=8.0,
        short_axis_mm=6.5, slices=4, agreement=1.0, empty=False, cut_off=False, at_border=False,
    )  # fmt: skip
    lesion = LesionEntry(
        number=1, folder="", name="upper lobe", centre_mm=(1.0, -2.5, 30.0), score=None, no_lesion=0.1, ambiguity=0.3,
        residual=0.15, draws=256, probability="probability.nii.gz", entropy="entropy.nii.gz", aleatoric=None,
        preview="preview.png", hypotheses=[hypothesis], overlaps=[],
    )  # fmt: skip
    return Document(
        schema=2,
        program="ambiseg 1.2.3",
        model=ModelEntry(name="run", method="gated", weights_sha256="a1", data_sha256="b2"),
        settings=Ranking(top=1),
        calibration=CalibrationEntry(presence_shift=0.2),
        classes=["background", "lesion"],
        warnings=[],
        notes=[],
        found_by="given",
        scan=ScanEntry(voxels=(64, 64, 30), spacing_mm=(0.7, 0.7, 1.5)),
        lesions=[lesion],
    )


def test_what_is_written_is_read_back_to_the_same_bytes(document: Document, tmp_path: Path) -> None:
    write_numbers(tmp_path, document)
    for place in (tmp_path, tmp_path / "hypotheses.json", str(tmp_path)):
        found = ambiseg.read_hypotheses(place)
        assert found == document
    before = (tmp_path / "hypotheses.json").read_bytes()
    write_numbers(tmp_path, found)
    assert (tmp_path / "hypotheses.json").read_bytes() == before


def test_keys_of_later_versions_are_passed_over(document: Document, tmp_path: Path) -> None:
    content = document.plain() | {"new": 3}
    content["lesions"][0]["hypotheses"][0]["newer"] = "x"
    (tmp_path / "hypotheses.json").write_text(json.dumps(content))
    assert ambiseg.read_hypotheses(tmp_path) == document


def test_what_cannot_be_read_is_named(document: Document, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No file .*hypotheses\.json: expected"):
        ambiseg.read_hypotheses(tmp_path / "hypotheses.json")
    (tmp_path / "hypotheses.json").write_text(json.dumps(document.plain() | {"found_by": "luck"}))
    with pytest.raises(DataError, match="`found_by`: expected 'given', 'crop' or 'search', got 'luck'"):
        ambiseg.read_hypotheses(tmp_path)


def test_the_reference_describes_every_key() -> None:
    text = reference()
    for kind in (Document, LesionEntry, HypothesisEntry, ModelEntry, CalibrationEntry, ScanEntry):
        for name, field in kind.model_fields.items():
            assert field.description
            assert f"| `{field.alias or name}` | {field.description} |" in text
