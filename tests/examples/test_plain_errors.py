"""Every study ends with one sentence, not with a traceback, when there is nothing where it is told to look."""

import runpy
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "examples" / "studies"

ASKED = {
    "cost/benchmark_exports.py": "{nothing} --at=0,0,0",
    "cost/benchmark_predict.py": "{nothing}.nii --at=0,0,0",
    "cost/benchmark_preprocessing.py": "{nothing}",
    "cost/benchmark_training.py": "{nothing}",
    "default_model/against.py": "--data {nothing} -o {nothing}-made --recipes base",
    "default_model/everything.py": "--data {nothing} -o {nothing}-made",
    "default_model/page.py": "{nothing}",
    "default_model/study.py": "search --data {nothing} -o {nothing}-made",
    "draw_areas.py": "{nothing} {nothing}",
    "known_truth/modes_picture.py": "{nothing}",
    "lesion_study.py": "{nothing} lidc-gated",
    "lidc_oracles.py": "{nothing}",
    "lidc_page/ablations_page.py": "--data {nothing}",
    "lidc_page/fill_lidc_page.py": "{nothing}",
    "lidc_page/gpu_programme.py": "{nothing}",
    "lidc_page/results_page.py": "{nothing}",
    "lost_units.py": "lidc-gated {nothing}.nii",
    "order_over_seeds.py": "{nothing}.csv",
    "presence_floor.py": "{nothing}",
    "ranking_study.py": "{nothing} {nothing}",
    "records.py": "take {nothing}.tar.xz {nothing}-made",
    "search_settings.py": "{nothing}",
    "standing_still.py": "{nothing}.nii --at 0 0 0",
    "wider_crops.py": "{nothing}",
}
NO_INPUT = {  # they make what they need
    "batch_cost.py",
    "batch_speed.py",
    "bimodal_regression.py",
    "cost/benchmark_sampling.py",
    "known_truth/given_frequencies.py",
    "known_truth/volumes_truth.py",
    "made_cityscapes.py",
    "mixture_kl.py",
    "search_recall.py",
}
SCRIPTS = {
    file.relative_to(STUDIES).as_posix()
    for file in STUDIES.rglob("*.py")
    if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
}


def test_every_study_is_tried() -> None:
    assert ASKED.keys() | NO_INPUT == SCRIPTS


@pytest.mark.parametrize("script", ASKED)
def test_nothing_where_it_looks_is_said_in_a_sentence(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "nothing"
    monkeypatch.setattr(sys, "argv", [script, *ASKED[script].format(nothing=nothing).split()])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(STUDIES / script), run_name="__main__")
    said = ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err
    assert ended.value.code not in (0, None)
    assert "usage:" not in said
    assert str(nothing) in said
    assert said.count("\n") <= 1
    assert not list(tmp_path.iterdir())  # nothing half-written
