"""The demo from an empty folder, with a shortened training; a second call continues where the first one stopped."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest
from PIL import Image

from ambiseg.models.runs import config
from ambiseg.models.runs.config import TrainConfig, make_config

pytestmark = [pytest.mark.drawn, pytest.mark.slow]

Ambiseg = Callable[..., tuple[int, str, str]]


def short(method: str, preset: str, **kwargs: object) -> TrainConfig:
    return make_config(method, preset, settings=["steps=20", "validation.every=10"], **kwargs)  # type: ignore[arg-type]


@pytest.mark.exhaustive  # `.ci/run` runs the demo itself
def test_the_demo_runs_from_nothing(ambiseg: Ambiseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "make_config", short)
    code, out, err = ambiseg("demo", "--patients", "8")
    assert code == 0, err
    demo = tmp_path / "ambiseg-demo"
    with Image.open(demo / "demo.png") as picture:
        assert min(picture.size) > 500
    found = json.loads((demo / "scan-hypotheses" / "hypotheses.json").read_text())
    (lesion,) = found["lesions"]
    total = sum(entry["probability"] for entry in lesion["hypotheses"]) + lesion["residual"]
    assert total == pytest.approx(1, abs=1e-3)
    mask = nib.load(demo / "scan-hypotheses" / "hyp_01.nii.gz")
    scan = nib.load(demo / "scan.nii")
    assert mask.shape == scan.shape
    assert (mask.affine == scan.affine).all()
    assert "ambiseg predict scan.nii --top 8" in out
    report = Path("ambiseg-demo/runs/generalized-001/evaluation-test/report.html")
    assert f"Report of the evaluation: {report}" in out
    assert "not for diagnosis" in report.read_text(encoding="utf-8")

    picture_bytes = (demo / "demo.png").read_bytes()
    code, again, err = ambiseg("demo", "--patients", "8")
    assert (code, again) == (0, out), err
    assert (demo / "demo.png").read_bytes() == picture_bytes

    monkeypatch.chdir(demo)  # the commands that the demo prints work as they are
    code, _, err = ambiseg("predict", "scan.nii", "--top", "8")
    assert code == 0, err
    code, _, err = ambiseg("evaluate", "--limit", "3")
    assert code == 0, err
    code, out, err = ambiseg("preprocess", "lidc")
    assert code == 0, err
    assert "data/lidc" in out


def test_a_folder_of_something_else_is_left_alone(ambiseg: Ambiseg, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    code, _, err = ambiseg("demo", "-o", tmp_path / "mine")
    assert code == 2
    assert "exists and is not an earlier demo" in err
    assert not list((tmp_path / "mine").iterdir())
