"""Pictures, arrays and images of several channels: one scan whatever they come from, with masks on their own pixels."""

import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

import ambiseg
from ambiseg.models.figures.drawing import round_number
from ambiseg.models.prediction.predict_scan import Request
from ambiseg.models.results.folder import check_folder, predict_to_folder
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.names import PICTURE
from ambiseg.preprocessing.scans.cases import find_cases
from ambiseg.preprocessing.scans.scan import open_scan
from ambiseg.terminal.predict_tables import show

HEIGHT, WIDTH = 40, 48
COLOURS = ("red", "green", "blue")


@pytest.fixture
def model(threshold_model: Callable[..., Trained]) -> Trained:
    return threshold_model(crop=64, spacing_mm=None, unit="relative", low=0, high=255, channels=3, names=COLOURS)


def photograph() -> NDArray[np.uint8]:
    """A cone of red [Y, X, 3], off the middle, before a blue ground."""
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    red = np.maximum(255 - 12 * np.hypot(y - 12, x - 30), 0)
    return np.stack([red, np.full_like(red, 9), np.full_like(red, 99)], -1).astype(np.uint8)


def test_a_picture_is_predicted_and_its_masks_are_pictures_too(model: Trained, tmp_path: Path) -> None:
    Image.fromarray(photograph()).save(tmp_path / "skin.png")
    out = tmp_path / "out"
    prediction = predict_to_folder(model, tmp_path / "skin.png", out)
    assert prediction.missing == []
    assert {"preview.png", "report.html"} <= {file.name for file in out.iterdir()}
    (lesion,) = prediction.document.lesions
    assert "count pixels (px)" in prediction.document.notes[0]
    for entry in lesion.hypotheses:
        mask = np.asarray(Image.open(out / f"hyp_{entry.rank:02d}.png"))
        assert mask.shape == (HEIGHT, WIDTH)
        stored = nib.load(out / entry.file)
        assert stored.shape == (WIDTH, HEIGHT, 1)
        np.testing.assert_array_equal(np.asarray(stored.dataobj)[..., 0].T * 255, mask)
        red = photograph()[..., 0]
        if mask.any():
            assert red[mask > 0].min() > red[mask == 0].max()
    check_folder(out, overwrite=False)  # it holds nothing that is not its own


def test_a_pixel_without_a_size_is_called_a_pixel(
    model: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terminal and report give px and px²; what remains of mm names settings and files. With a size it is mm, as ever."""
    Image.fromarray(photograph()).save(tmp_path / "skin.png")
    picture = predict_to_folder(model, tmp_path / "skin.png", tmp_path / "out").document
    sized = ambiseg.predict(np.moveaxis(photograph(), -1, 0), model, spacing_mm=(1, 0.7, 0.7)).document
    assert picture.plain()["scan"]["length_unit"] == "px"
    assert "length_unit" not in sized.plain()["scan"]
    show(picture)
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("px²", "axes px", "diameter px", "6 px"))
    assert "mm" not in printed
    show(sized)
    assert "px" not in (printed := capsys.readouterr().out)
    assert "mm²" in printed
    words = re.sub(
        r"<(script|style).*?</\1>|<[^>]*>", " ", (tmp_path / "out" / "report.html").read_text(), flags=re.DOTALL
    )
    assert re.search(r"[0-9] px²", words)
    words = words.replace(picture.notes[0], "")  # it says that files call a pixel 1 mm
    assert not re.search(r"[0-9,)] mm\b|Millimetres", words)


@pytest.mark.parametrize(("most", "expected"), [(0.3, 1), (1.0, 1), (9.9, 5), (10.0, 10), (49.0, 20), (700.0, 500)])
def test_scale_bars_of_pixels_are_round(most: float, expected: int) -> None:
    assert round_number(most) == expected


def test_every_way_to_give_the_colours_gives_the_same(model: Trained, tmp_path: Path) -> None:
    colours = photograph()
    Image.fromarray(colours).save(tmp_path / "a.png")
    Image.fromarray(colours).save(tmp_path / "a.tif")
    Image.fromarray(np.dstack([colours, np.full_like(colours[..., :1], 70)])).save(tmp_path / "alpha.png")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned = colours.transpose(1, 0, 2)[:, :, None]
    nib.save(nib.Nifti1Image(turned, affine), tmp_path / "four.nii.gz")
    nib.save(nib.Nifti1Image(turned[:, :, :, None], affine), tmp_path / "vector.nii.gz")
    packed = np.ascontiguousarray(turned).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(packed, affine), tmp_path / "rgb.nii.gz")
    red, green, blue = np.moveaxis(colours, -1, 0)
    images = [
        *(tmp_path / name for name in ("a.tif", "alpha.png", "four.nii.gz", "vector.nii.gz", "rgb.nii.gz")),
        colours,
        np.moveaxis(colours, -1, 0),
        np.moveaxis(colours, -1, 0)[:, None],
        sitk.GetImageFromArray(colours[None], isVector=True),
        nib.Nifti1Image(turned, affine),
        [red, green, blue],
        {"blue": blue, "red": red, "green": green},
    ]
    expected = ambiseg.predict(tmp_path / "a.png", model, draws=30)
    assert expected.labels().any()
    for image in images:
        found = ambiseg.predict(image, model, draws=30)
        np.testing.assert_array_equal(found.labels(), expected.labels())


def test_a_grey_picture_is_one_channel(threshold_model: Callable[..., Trained], tmp_path: Path) -> None:
    grey = photograph()[..., 0]
    model = threshold_model(crop=64, spacing_mm=None, unit="relative", low=0, high=255)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "same.png")
    Image.fromarray(grey).save(tmp_path / "grey.jpg", quality=100)
    first, same = (ambiseg.predict(tmp_path / name, model, draws=30) for name in ("grey.png", "same.png"))
    np.testing.assert_array_equal(first.labels(), same.labels())
    (mask,) = ambiseg.predict(tmp_path / "grey.jpg", model, draws=30).labels()
    assert (mask != first.labels()[0]).mean() < 0.05


def test_files_of_one_channel_each(model: Trained, tmp_path: Path) -> None:
    colours = photograph()
    Image.fromarray(colours).save(tmp_path / "all.png")
    for name, channel in zip(COLOURS, np.moveaxis(colours, -1, 0), strict=True):
        Image.fromarray(channel).save(tmp_path / f"{name}.png")
    expected = ambiseg.predict(tmp_path / "all.png", model, draws=30).lesions[0].hypotheses.masks
    files = {name: tmp_path / f"{name}.png" for name in COLOURS}
    for first, others in (
        ("red", [("", files["green"]), ("", files["blue"])]),
        ("green", [("blue", files["blue"]), ("red", files["red"])]),
    ):
        found = predict_to_folder(model, files[first], tmp_path / first, Request(channels=others))
        assert found.lesions[0].hypotheses.masks.shape[1:] == expected.shape[1:]
        assert found.document.found_by == "crop"
        red = photograph()[..., 0][found.lesions[0].box[1:]]
        best = found.lesions[0].hypotheses.masks[0, 0] > 0
        assert red[best].min() > red[~best].max()
    others = [("blue", files["blue"]), ("yellow", files["red"])]
    with pytest.raises(UsageError, match="names blue, yellow, but the model reads red, green, blue"):
        predict_to_folder(model, files["green"], tmp_path / "no", Request(channels=others))
    Image.fromarray(colours[:30, :, 1]).save(tmp_path / "small.png")
    others = [("", tmp_path / "small.png"), ("", files["blue"])]
    with pytest.raises(DataError, match="The channel small is not on the grid of the channel red"):
        predict_to_folder(model, files["red"], tmp_path / "no", Request(channels=others))
    assert not (tmp_path / "no").exists()


def test_channels_that_do_not_fit_are_refused(model: Trained, threshold_model: Callable[..., Trained]) -> None:
    colours = photograph()
    with pytest.raises(DataError, match=r"reads 3 channels \(red, green, blue\), but the scan has 1"):
        ambiseg.predict([colours[..., 0]], model)
    with pytest.raises(DataError, match=r"reads the channels red, green, blue, but the scan has T1, T2, FLAIR"):
        ambiseg.predict({"T1": colours[..., 0], "T2": colours[..., 1], "FLAIR": colours[..., 2]}, model)
    one = threshold_model(crop=64, spacing_mm=None, unit="relative", low=0, high=255)
    with pytest.raises(DataError, match=r"several volumes or channels \(2\), but the model reads one"):
        ambiseg.predict([colours[..., 0], colours[..., 1]], one)
    with pytest.raises(UsageError, match=r"is no image of 3 channels: expected \[3, Y, X\], \[Y, X, 3\]"):
        ambiseg.predict(colours[..., :2], model)


@pytest.mark.parametrize("suffix", PICTURE)
def test_pictures_that_are_none_are_named(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(b"no picture")
    with pytest.raises(DataError, match="is not a whole picture of a kind that is read"), open_scan(file):
        pass


def test_several_pages_are_no_picture(tmp_path: Path) -> None:
    pages = [Image.fromarray(photograph()) for _ in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="holds 3 pages: expected one picture"), open_scan(tmp_path / "pages.tif"):
        pass


def test_a_folder_of_pictures_is_a_batch_but_not_beside_scans(tmp_path: Path) -> None:
    Image.fromarray(photograph()).save(tmp_path / "b.png")
    Image.fromarray(photograph()).save(tmp_path / "a.jpg")
    assert [case.name for case in find_cases(tmp_path) or ()] == ["a", "b"]
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "c.nii")
    assert [case.name for case in find_cases(tmp_path) or ()] == ["c"]


@pytest.mark.parametrize(("fit", "size"), [("pad", 64), ("crop", 33), ("resize", 24)])
def test_whole_pictures_are_fitted_as_in_training_and_masks_come_back(
    fit: str, size: int, threshold_model: Callable[..., Trained]
) -> None:
    """The first mask is a level set of the picture where the model saw it, on the picture's own pixels."""
    grey = photograph()[..., 0]
    given = {"unit": "relative", "low": 0, "high": 255, "fit": fit, "scaled_over": size}
    model = threshold_model(crop=size, spacing_mm=None, **given)
    found = ambiseg.predict(grey, model, draws=60, top=30)
    assert found.document.found_by == "crop"
    masks = np.stack([found.labels(rank)[0] for rank in range(1, len(found.lesions[0].hypotheses.masks) + 1)]) > 0
    assert masks.shape[1:] == grey.shape
    seen = np.ones_like(grey, bool)
    if fit == "crop":
        seen = np.zeros_like(grey, bool)
        seen[3:36, 7:40] = True
    for mask in masks[masks.any((1, 2))]:
        assert not mask[~seen].any()
        level = np.sort(grey[seen])[::-1][mask.sum() - 1]
        truth = (grey >= level) & seen
        overlap = (truth & mask).sum() / (truth | mask).sum()
        assert overlap > (0.75 if fit == "resize" else 0.95)
    if fit == "resize":
        with pytest.raises(UsageError, match="looks at whole images, resized"):
            ambiseg.predict(grey, model, at=[(-30, -12, 0)])
