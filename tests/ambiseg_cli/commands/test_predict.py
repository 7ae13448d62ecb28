"""`ambiseg predict`: files out, geometry, and each bad input's message and exit code."""

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ambiseg.models.bundle.find import find_model
from ambiseg.models.methods.registry import build
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.scans.formats.nifti_volume import read_volume

pytestmark = pytest.mark.usefixtures("known_model")

Command = Callable[..., tuple[int, str, str]]
CENTRE = (4.0, -3.0, 12.0)
POINT = ("--at", "4,-3,12")
AFFINE = np.array([[0.7, 0, 0, -37.0], [0, -0.9, 0, 30], [0, 0, 2, -20], [0, 0, 0, 1]])
SHAPE = (110, 80, 32)


def phantom(affine: np.ndarray = AFFINE, shape: tuple[int, ...] = SHAPE, centre: tuple = CENTRE) -> np.ndarray:
    """A lumpy lesion in noise on a grid, in HU."""
    place = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3] - centre
    distance = np.linalg.norm(place / [1, 1.3, 0.8], axis=-1) + np.sin(place[..., 0])
    noise = np.random.default_rng(3).normal(0, 20, shape)
    return np.rint(np.maximum(400 - 140 * distance, -1000) + noise).astype(np.int16)


def save(name: str, array: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    nib.save(nib.Nifti1Image(array, affine), name)
    return name


def masks(folder: str) -> list[nib.Nifti1Image]:
    return [nib.load(file) for file in sorted(Path(folder).glob("hyp_*.nii.gz"))]


@pytest.mark.drawn
def test_one_lesion_gives_ranked_masks_on_the_scans_grid(ambiseg: Command) -> None:
    save("scan.nii.gz", phantom())
    code, out, err = ambiseg("predict", "scan.nii.gz", *POINT, "--top", "3", "--draws", "80")
    assert code == 0
    folder = Path("scan-hypotheses")
    found = sorted(file.name for file in folder.iterdir())
    assert found == [
        "entropy.nii.gz",
        *[f"hyp_0{rank}.nii.gz" for rank in (1, 2, 3)],
        "hypotheses.csv",
        "hypotheses.json",
        "lesions.csv",
        "preview.png",
        "probability.nii.gz",
        "report.html",
        "run.json",
        "sizes.csv",
    ]
    content = json.loads((folder / "hypotheses.json").read_text())
    assert content["schema"] == 4
    assert content["model"]["method"] == "probunet"
    assert content["settings"] == {"top": 3, "draws": 80, "depth_mm": None, "seed": 0, "fast": False,
        "diameters_mm": [6, 8, 15], "volumes_mm3": [100, 250],
    }  # fmt: skip
    (lesion,) = content["lesions"]
    assert [entry["at_least"] for entry in lesion["size"]["thresholds"]] == [6, 8, 15, 100, 250]
    with (folder / "lesions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["volume_mm3_median"]) == lesion["size"]["if_marked"]["volume_mm3"]["median"]
    with (folder / "sizes.csv").open(newline="") as file:
        masks_drawn = list(csv.DictReader(file))
    weights, volumes = (np.array([float(mask[name]) for mask in masks_drawn]) for name in ("weight", "volume_mm3"))
    assert len(masks_drawn) == 80
    assert weights.sum() == pytest.approx(1)
    assert weights[volumes >= 100].sum() == pytest.approx(lesion["size"]["thresholds"][3]["probability"], abs=1e-5)
    assert float(row["p_volume_mm3_at_least_100"]) == lesion["size"]["thresholds"][3]["probability"]
    entries = lesion["hypotheses"]
    probabilities = [entry["probability"] for entry in entries]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) + lesion["residual"] == pytest.approx(1, abs=1e-5)
    assert lesion["centre_mm"] == [4, -3, 12]
    for entry, image in zip(entries, masks("scan-hypotheses"), strict=True):
        mask = np.asarray(image.dataobj)
        assert image.get_data_dtype() == np.uint8
        assert np.array_equal(image.affine, nib.load("scan.nii.gz").affine)
        assert entry["volume_mm3"] == pytest.approx(mask.sum() * 0.7 * 0.9 * 2, abs=1e-3)
        assert entry["empty"] == (not mask.any())
        assert entry["slices"] == mask.any((0, 1)).sum()
        assert entry["long_axis_mm"] >= entry["short_axis_mm"] >= 0
        comment = json.loads(image.header.extensions[0].get_content())
        assert comment == {key: entry[key] for key in ("rank", "probability", "interval")}
        low, high = entry["interval"]
        assert low < entry["probability"] < high
    assert f"{probabilities[0]:.1%}" in out
    assert "hyp_01.nii.gz" in out
    assert "threshold-001 (probunet) on cpu" in err
    assert nib.load(folder / "probability.nii.gz").get_data_dtype() == np.float32
    assert 0.75 < nib.load(folder / "probability.nii.gz").get_fdata().max() <= 1
    assert nib.load(folder / "entropy.nii.gz").get_fdata().max() <= np.log(2) + 1e-6


def test_masks_overlay_the_lesion_in_mm(ambiseg: Command) -> None:
    scan = phantom()
    save("scan.nii.gz", scan)
    assert ambiseg("predict", "scan.nii.gz", *POINT, "--draws", "60", "-o", "out")[0] == 0
    for image in masks("out"):
        marked = np.argwhere(np.asarray(image.dataobj))
        if len(marked):
            centre = nib.affines.apply_affine(image.affine, marked).mean(0)
            assert np.linalg.norm(centre - CENTRE) < 1
            assert scan[tuple(marked.T)].mean() > -500


def turned(array: np.ndarray, affine: np.ndarray, turn: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    new = nib.orientations.apply_orientation(array, np.array(turn))
    return new, affine @ nib.orientations.inv_ornt_aff(np.array(turn), array.shape)


@pytest.mark.parametrize("turn", [[[0, -1], [1, -1], [2, 1]], [[2, 1], [0, -1], [1, -1]], [[1, 1], [2, -1], [0, 1]]])
def test_a_turned_file_gives_the_same_hypotheses(ambiseg: Command, turn: list[list[int]]) -> None:
    array = phantom()
    save("upright.nii.gz", array)
    save("turned.nii.gz", *turned(array, AFFINE, turn))
    for name in ("upright", "turned"):
        assert ambiseg("predict", f"{name}.nii.gz", *POINT, "--draws", "40")[0] == 0
    upright, other = masks("upright-hypotheses"), masks("turned-hypotheses")
    assert len(upright) == len(other) > 2
    for one, two in zip(upright, other, strict=True):
        assert np.array_equal(turned(np.asarray(one.dataobj), AFFINE, turn)[0], np.asarray(two.dataobj))
    lesions = [
        json.loads(Path(f"{name}-hypotheses/hypotheses.json").read_text())["lesions"] for name in ("upright", "turned")
    ]
    assert lesions[0] == lesions[1]


def test_a_rotated_file_gives_the_same_hypotheses_at_the_same_place(ambiseg: Command) -> None:
    angle = np.radians(12)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    array = phantom()
    save("upright.nii.gz", array)
    save("oblique.nii.gz", array, rotation @ AFFINE)
    place = (rotation @ [*CENTRE, 1])[:3]
    assert ambiseg("predict", "upright.nii.gz", *POINT, "--draws", "40")[0] == 0
    assert ambiseg("predict", "oblique.nii.gz", "--at", ",".join(map(repr, place.tolist())), "--draws", "40")[0] == 0
    for one, two in zip(masks("upright-hypotheses"), masks("oblique-hypotheses"), strict=True):
        assert np.array_equal(np.asarray(one.dataobj), np.asarray(two.dataobj))


@pytest.mark.drawn
def test_same_seed_same_bytes_under_another_name(ambiseg: Command) -> None:
    save("a.nii.gz", phantom())
    save("b.nii.gz", phantom())
    for name in ("a", "b"):
        assert ambiseg("predict", f"{name}.nii.gz", *POINT, "--draws", "30")[0] == 0
    files = sorted({file.name for file in Path("a-hypotheses").iterdir()} - {"run.json"})
    assert len(files) > 7
    for file in files:
        assert (Path("a-hypotheses") / file).read_bytes() == (Path("b-hypotheses") / file).read_bytes(), file
    assert ambiseg("predict", "b.nii.gz", *POINT, "--draws", "30", "--seed", "1")[0] == 0
    assert Path("a-hypotheses/probability.nii.gz").read_bytes() != Path("b-hypotheses/probability.nii.gz").read_bytes()


def test_several_lesions_lie_in_folders_of_their_own(ambiseg: Command) -> None:
    save("scan.nii.gz", phantom())
    region = np.zeros(SHAPE, np.uint8)
    region[56:60, 35:38, 15:17] = 1
    save("roi.nii.gz", region)
    Path("points.csv").write_text("x,y,z,name\n4,-3,11,middle\n")
    arguments = ("--points", "points.csv", "--roi", "roi.nii.gz", "--draws", "20", "--json")
    code, out, _ = ambiseg("predict", "scan.nii.gz", *POINT, *arguments)
    assert code == 0
    content = json.loads(out)
    assert content == json.loads(Path("scan-hypotheses/hypotheses.json").read_text())
    assert [lesion["name"] for lesion in content["lesions"]] == ["", "middle", ""]
    for number, lesion in enumerate(content["lesions"], start=1):
        assert lesion["preview"] == f"lesion_0{number}/preview.png"
        for entry in lesion["hypotheses"]:
            assert (Path("scan-hypotheses") / entry["file"]).is_file()


def test_lesions_that_share_voxels_are_told(ambiseg: Command) -> None:
    save("scan.nii.gz", phantom())
    far = ("--at", "-20,10,-5")
    code, out, err = ambiseg("predict", "scan.nii.gz", *POINT, "--at", "5,-3,12", *far, "--draws", "20", "--json")
    assert code == 0
    assert [lesion["overlaps"] for lesion in json.loads(out)["lesions"]] == [[2], [1], []]
    code, out, err = ambiseg("predict", "scan.nii.gz", *POINT, "--at", "5,-3,12", *far, "--draws", "20")
    assert "lesion 1 overlaps lesion 2: they may be one" in " ".join(err.split())


def test_voxels_count_in_the_files_own_order(ambiseg: Command) -> None:
    array, affine = turned(phantom(), AFFINE, [[2, 1], [0, -1], [1, -1]])
    save("scan.nii.gz", array, affine)
    index = np.rint(np.linalg.solve(affine, [*CENTRE, 1])[:3]).astype(int)
    voxel = ",".join(map(str, index))
    assert ambiseg("predict", "scan.nii.gz", "--at", voxel, "--voxel", "--draws", "20", "-o", "out")[0] == 0
    (lesion,) = json.loads(Path("out/hypotheses.json").read_text())["lesions"]
    assert lesion["centre_mm"] == pytest.approx((affine @ [*index, 1])[:3].tolist(), abs=1e-3)
    assert lesion["no_lesion"] < 0.6


def test_a_crop_sized_slice_needs_no_point_and_has_areas(ambiseg: Command) -> None:
    save("slice.nii.gz", phantom()[30:90, 15:65, 16])
    code, out, _ = ambiseg("predict", "slice.nii.gz", "--draws", "40", "-o", "out")
    assert code == 0
    assert "area mm²" in out
    (lesion,) = json.loads(Path("out/hypotheses.json").read_text())["lesions"]
    for entry, image in zip(lesion["hypotheses"], masks("out"), strict=True):
        assert image.shape == (60, 50)
        assert entry["area_mm2"] == pytest.approx(np.asarray(image.dataobj).sum() * 0.7 * 0.9, abs=1e-3)


def test_a_single_draw_is_one_hypothesis_of_unknown_ambiguity(ambiseg: Command) -> None:
    save("scan.nii.gz", phantom())
    assert ambiseg("predict", "scan.nii.gz", *POINT, "--draws", "1", "-o", "out")[0] == 0
    (lesion,) = json.loads(Path("out/hypotheses.json").read_text())["lesions"]
    assert (len(lesion["hypotheses"]), lesion["ambiguity"]) == (1, None)
    assert "unknown ambiguity" in Path("out/report.html").read_text(encoding="utf-8")


def test_a_scan_that_is_no_ct_gets_a_warning(ambiseg: Command) -> None:
    save("scan.nii.gz", np.clip(phantom(), 0, 100))
    code, _, err = ambiseg("predict", "scan.nii.gz", *POINT, "--draws", "10", "-o", "out")
    assert code == 0
    assert "Warning:" in err
    assert "Is it a CT in HU?" in " ".join(err.split())
    assert len(json.loads(Path("out/hypotheses.json").read_text())["warnings"]) == 1


def test_a_former_prediction_is_replaced_but_nothing_else(ambiseg: Command) -> None:
    save("scan.nii.gz", phantom())
    run = ("predict", "scan.nii.gz", *POINT, "--draws", "10", "-o", "out")
    Path("out").mkdir()
    assert ambiseg(*run)[0] == 0
    assert ambiseg(*run, "--top", "1")[0] == 0
    assert len(masks("out")) == 1
    Path("out/edited.nii.gz").write_bytes(b"hours of work")
    code, _, err = ambiseg(*run)
    assert (code, "edited.nii.gz, which would be lost" in " ".join(err.split())) == (2, True)
    assert Path("out/edited.nii.gz").exists()
    assert ambiseg(*run, "--overwrite")[0] == 0
    assert not Path("out/edited.nii.gz").exists()
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("precious")
    code, _, err = ambiseg(*run[:-1], "mine", "--overwrite")
    assert (code, "is not an earlier prediction" in " ".join(err.split())) == (2, True)
    assert Path("mine/thesis.txt").exists()


def volumes() -> list[str]:
    return ["predict", save("bad.nii", np.zeros((4, 4, 4, 2), np.int16)), *POINT]


def sheared() -> list[str]:
    image = nib.Nifti1Image(phantom(), None)
    image.set_sform(AFFINE + np.array([[0, 0, 0.5, 0]] + [[0] * 4] * 3), 1)
    nib.save(image, "bad.nii")
    return ["predict", "bad.nii", *POINT]


def empty_roi() -> list[str]:
    return ["predict", save("scan.nii", phantom()), "--roi", save("roi.nii", np.zeros(SHAPE, np.uint8))]


def foreign_roi() -> list[str]:
    return ["predict", save("scan.nii", phantom()), "--roi", save("roi.nii", np.ones(SHAPE, np.uint8), AFFINE * 1.1)]


def damaged() -> list[str]:
    Path("bad.nii.gz").write_bytes(b"\x1f\x8b broken")
    return ["predict", "bad.nii.gz", *POINT]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (lambda: ["predict", "nowhere.nii"], 3, "No file or folder nowhere.nii"),
        (lambda: ["predict", save("scan.nii", phantom())], 3, "No lungs were found"),
        (
            lambda: ["predict", save("scan.nii", phantom()), "--at", "400,0,0"],
            3,
            "outside the scan, which extends over x",
        ),
        (lambda: ["predict", save("scan.nii", phantom()), "--at", "4;0"], 2, "expected three finite numbers X,Y,Z"),
        (lambda: ["predict", save("scan.nii", phantom()), "--points", "p.csv"], 3, "No file p.csv"),
        (lambda: ["predict", save("scan.nii", phantom()), "--device", "tpu", *POINT], 2, "Unknown --device 'tpu'"),
        (lambda: ["predict", save("scan.nii", phantom()), "--top", "0", *POINT], 2, "--top"),
        (volumes, 4, "holds several volumes or channels (2)"),
        (sheared, 4, "is sheared by"),
        (damaged, 4, "is not a whole NIfTI file"),
        (empty_roi, 3, "roi.nii is empty"),
        (foreign_roi, 4, "roi.nii is not on the grid of the scan"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    ambiseg: Command, arguments: Callable[[], list[str]], code: int, message: str
) -> None:
    given = arguments()
    left, out, err = ambiseg(*given)
    assert left == code
    assert message in " ".join(err.split())
    assert out == ""
    assert not list(Path().glob("*hypotheses*"))


def test_a_full_disk_leaves_nothing_half_written(ambiseg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    save("scan.nii.gz", phantom())
    before = sorted(Path().rglob("*"))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ambiseg.models.results.folder.save_preview", full)
    code, _, err = ambiseg("predict", "scan.nii.gz", *POINT, "--draws", "10")
    assert code == 6
    assert "No room left on the disk" in err
    assert sorted(Path().rglob("*")) == before


def test_without_any_model_the_one_that_comes_with_ambiseg_is_used_and_named(
    ambiseg: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", find_model)
    monkeypatch.setattr("ambiseg.models.runs.trained.load_trained", load_trained)
    monkeypatch.setenv("AMBISEG_MODELS", str(tmp_path / "none"))
    save("scan.nii.gz", phantom())
    code, _, err = ambiseg("predict", "scan.nii.gz", *POINT, "--draws", "10", "--device", "cpu")
    assert code == 0
    assert "Model lidc-gated (gated) on cpu, which comes with ambiseg" in " ".join(err.split())


def test_a_run_from_disk_end_to_end(ambiseg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained network in a real run folder: everything between run.json and the files, twice the same."""
    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", find_model)
    monkeypatch.setattr("ambiseg.models.runs.trained.load_trained", load_trained)
    config = make_config("probunet", "demo", settings=["options.widths=[4, 8]", "data.crop=16"])
    data = DataRecord(
        path="data",
        name="made",
        content_hash="0" * 64,
        channels=1,
        class_names=("background", "lesion"),
        spacing_mm=1.0,
        unit="HU",
        low=-1024,
        high=3071,
    )
    record = RunRecord(version="0", torch="0", device="cpu", config=config, data=data)
    save("scan.nii.gz", phantom())
    run = Run.create(Path("runs/first"), record)
    run.save_weights(build(config.method, 1, 2, config.options), 1)
    contents = []
    for name in ("one", "two"):
        code, out, _ = ambiseg(
            "predict", "scan.nii.gz", *POINT, "--draws", "20", "-o", name, "--device", "cpu", "--json"
        )
        assert code == 0
        contents.append(json.loads(out))
    assert contents[0] == contents[1]
    assert contents[0]["model"]["name"] == "first"
    assert len(contents[0]["model"]["weights_sha256"]) == 64
    for file in set(Path("one").iterdir()) - {Path("one/run.json")}:
        assert file.read_bytes() == (Path("two") / file.name).read_bytes()
    run.weights.write_bytes(b"broken")
    code, _, err = ambiseg("predict", "scan.nii.gz", *POINT, "--model", "runs/first")
    assert (code, "is corrupt" in err) == (4, True)
    code, _, err = ambiseg("predict", "scan.nii.gz", *POINT, "--model", "runs/second")
    assert (code, "No model 'runs/second'" in err) == (3, True)
    assert read_volume(Path("one/hyp_01.nii.gz")).array.shape == SHAPE[::-1]
