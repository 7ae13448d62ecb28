"""The page of a prediction: complete, without network access or patient data, with the voxels in their place."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest

from ambiseg.models.prediction.document import SizeEntry
from ambiseg.models.prediction.neighbourhood import within
from ambiseg.models.results import prediction_page as page_module
from ambiseg.models.results.viewer import words
from ambiseg.models.results.viewer.region import MOST_MM, VOXELS, region
from ambiseg.models.results.viewer.voxels import scan_nifti, windows
from ambiseg.preprocessing.volumes.volume import Volume

KINDS = ("block", "tilted", "flat", "classes", "two", "one")
VOID = {"meta", "img", "br", "input", "link"}


class Read(HTMLParser):
    """A page's elements, its words without scripts, and the texts of its scripts and style."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words, self.programs = [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.programs.append((self.open[-1], self.elements[-1][1], data))
        else:
            self.words += data


def embedded(text, name):
    """The JSON of a data block of the page."""
    return json.loads(next(data for _, attributes, data in Read(text).programs if attributes.get("id") == name))


def size(**extent):
    return SizeEntry(long_axis_mm=1, short_axis_mm=1, slices=1, **extent)


def image_of(voxels, name):
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(voxels[name])))


def test_niivue_is_the_file_that_was_published():
    folder = files("ambiseg.models.results.viewer")
    digest = hashlib.sha256(folder.joinpath("niivue.umd.js").read_bytes()).hexdigest()
    note = folder.joinpath("LICENSE-niivue.txt").read_text()
    assert f"SHA-256: {digest}\n" in note
    assert "@niivue/niivue 0.69.0" in note
    assert "Copyright (c) 2021, Niivue" in note


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_whole_and_loads_nothing(made, tmp_path, kind):
    text = made(kind).write(tmp_path / "report.html").read_text(encoding="utf-8")
    read = Read(text)
    assert not read.open
    assert not {"link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in read.elements}
    for _, attributes in read.elements:
        assert not any(name.startswith("on") or name in ("style", "href") for name in attributes)
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert "nan" not in read.words.lower().split()
    assert "None" not in read.words.split()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_only_the_scripts_and_the_style_of_the_page_may_run(made, tmp_path):
    text = made().write(tmp_path / "report.html").read_text(encoding="utf-8")
    read = Read(text)
    (policy,) = (a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digests(tag):
        texts = [data for found, attributes, data in read.programs if found == tag and "type" not in attributes]
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts
        )

    assert rules == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        "style-src": digests("style"), "script-src": digests("script"),
    }  # fmt: skip
    assert len(rules["script-src"].split()) == len(page_module.PARTS) + 1


def test_pages_that_share_their_viewer_hold_the_same_and_say_what_they_lack_without_it(made, tmp_path):
    folder, shared = tmp_path / "case", tmp_path / "report-files"
    folder.mkdir()
    shared.mkdir()
    page_module.write_shared(shared)
    written = {file: file.stat().st_mtime_ns for file in shared.iterdir()}
    page_module.write_shared(shared)  # what is there stays
    assert {file: file.stat().st_mtime_ns for file in shared.iterdir()} == written
    text = made().write(folder / "report.html", shared="../report-files").read_text(encoding="utf-8")
    single = made().write(tmp_path / "report.html").read_text(encoding="utf-8")
    read, whole = Read(text), Read(single)
    linked = [
        a.get("href", a.get("src")) for tag, a in read.elements if tag == "link" or (tag == "script" and "src" in a)
    ]
    assert len(linked) == 3
    assert all((folder / address).is_file() for address in linked)
    programs = [data for tag, attributes, data in whole.programs if tag == "script" and "type" not in attributes]
    texts = [(folder / address).read_text(encoding="utf-8") for address in linked]
    assert texts[1] + texts[2] == "".join(programs)
    assert embedded(text, "voxels-0") == embedded(single, "voxels-0")
    assert read.words.count("This page lacks its style and its viewer.") == 1
    assert texts[0].endswith(".apart { display: none; }\n")  # hidden by what would be lacking
    assert len(text) < len(single) - 2_000_000
    (policy,) = (a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "script-src 'self' file:;" in policy
    assert not re.search(r"https?:|'unsafe", policy)


@pytest.mark.parametrize("kind", ["block", "tilted", "flat", "classes"])
def test_the_voxels_lie_where_they_lie_in_the_scan(made, tmp_path, kind):
    made_up = made(kind)
    volume, result = made_up.volume, made_up.results[0]
    found = embedded(made_up.write(tmp_path / "report.html").read_text(encoding="utf-8"), "voxels-0")
    scan, masks, probability, entropy = (image_of(found, name) for name in ("scan", "masks", "probability", "entropy"))
    assert nib.aff2axcodes(scan.affine) == ("R", "A", "S")
    assert scan.get_data_dtype() == np.int16
    assert masks.get_data_dtype() == probability.get_data_dtype() == np.uint8
    whole = np.zeros((len(result.hypotheses.masks), *volume.array.shape), np.uint8)
    whole[(slice(None), *result.box)] = result.hypotheses.masks
    likely, doubt = (np.zeros(volume.array.shape, np.float32) for _ in range(2))
    likely[result.box], doubt[result.box] = result.probability, result.entropy
    inverse = np.linalg.inv(volume.affine)
    for voxel in np.argwhere(scan.get_fdata() > -950)[::97]:  # in all of the region
        x, y, z = np.rint(inverse @ scan.affine @ [*voxel, 1])[:3].astype(int)
        assert scan.get_fdata()[tuple(voxel)] == volume.array[z, y, x]
        assert list(masks.dataobj[tuple(voxel)]) == list(whole[:, z, y, x])
        assert probability.get_fdata()[tuple(voxel)] == pytest.approx(likely[z, y, x], abs=1 / 509)
        assert entropy.get_fdata()[tuple(voxel)] == pytest.approx(doubt[z, y, x], abs=1 / 509)
    assert np.asarray(masks.dataobj).astype(bool).sum() == whole.astype(bool).sum()
    x, y, z = (inverse @ scan.affine @ [*found["start"], 1])[:3]
    assert whole[0][round(z), round(y), round(x)]
    assert found["from"] == round((inverse @ scan.affine @ [0, 0, 0, 1])[2])


def test_the_headers_hold_nothing_but_the_grid(made, tmp_path):
    found = embedded(made().write(tmp_path / "report.html").read_text(encoding="utf-8"), "voxels-0")
    header = image_of(found, "scan").header
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        assert header[field].item() == b""
    assert not header.extensions
    assert header.get_xyzt_units()[0] == "mm"
    assert header["qform_code"] == header["sform_code"] == 1


def test_scans_of_any_values_are_kept():
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    for values in (
        np.array([[[-2000, 32000]]]),
        np.array([[[0.125, 3.5]]]),
        np.array([[[-7.0, 70000.0]]]),
        np.full((1, 1, 2), 0.1),
    ):
        image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(scan_nifti(values, affine))))
        back = image.get_fdata()[::-1, ::-1, :].T
        np.testing.assert_allclose(back, values, atol=np.ptp(values) / 131068 + 1e-6)
        if np.array_equal(values, values.astype(np.int16)):
            np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("size", [1, 20, 60, 95])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_the_region_holds_all_that_is_marked(made, size, place):
    made_up = made()
    volume = Volume(np.zeros((120, 100, 110), np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]))
    result, shape = made_up.results[0], volume.array.shape
    masks = np.zeros((1, *shape), np.uint8)
    corner = [round(place * (count - size)) for count in shape]
    masks[(0, *(slice(at, at + size) for at in corner))] = 1
    object.__setattr__(result.hypotheses, "masks", masks)
    object.__setattr__(result, "probability", masks[0].astype(np.float32))
    object.__setattr__(result, "box", tuple(slice(0, count) for count in shape))
    shown = region(result, volume)
    assert within(masks, result.box, shown).sum() == masks.sum()
    sides = [side.stop - side.start for side in shown]
    assert all(0 <= side.start < side.stop <= count for side, count in zip(shown, shape, strict=True))
    assert all(side <= max(MOST_MM, size) for side in sides)
    assert all(side >= 64 for side in sides)
    assert np.prod(sides) <= max(VOXELS, size**3)


def test_small_voxels_make_a_smaller_region(made):
    made_up = made()
    fine = Volume(np.zeros((400, 300, 300), np.int8), np.diag([-0.25, -0.25, 0.25, 1.0]))
    shown = region(made_up.results[0], fine)
    assert [side.stop - side.start for side in shown] == [160, 160, 160]


def test_what_lies_outside_the_box_is_zero():
    box, shown = (slice(0, 2), slice(2, 4), slice(5, 9)), (slice(0, 1), slice(0, 3), slice(8, 12))
    np.testing.assert_array_equal(within(np.ones((1, 2, 2, 4)), box, shown)[0, 0], [[0] * 4, [0] * 4, [1, 0, 0, 0]])
    assert not within(np.ones((2, 2, 4)), box, (slice(0, 1), slice(8, 9), slice(0, 1))).any()


def test_the_figures_are_those_of_the_content(made, tmp_path):
    made_up = made()
    text = " ".join(Read(made_up.write(tmp_path / "report.html").read_text(encoding="utf-8")).words.split())
    volume = 4 * 12 * 10 * 2.5 * 0.7 * 0.8
    for said in (
        "60 % 50 to 70 %", f"{volume:.0f} mm³", "× 5.2 mm", "4 slices", "agreement with 1: 80 %",
        "no lesion: nothing is marked",
        "10 % P(no lesion)", "0.30 moderate ambiguity (0 to 1)", "2 % other masks, not listed", "Not calibrated",
        "made-001, method probunet",
        "SHA-256 a1a1a1a1a1a1…", "ambiseg 9.8.7", "100 × 90 × 30 voxels of 0.8 × 0.7 × 2.5 mm", "draws 256",
        "not for diagnosis",
        "not what is true", words.place(made_up.results[0].lesion.centre_mm),
    ):  # fmt: skip
        assert said in text, said
    assert "Experimental" not in text


def test_calibration_warnings_and_search_are_told(made, tmp_path):
    made_up = made(
        "two",
        calibration={"fitted_on": "lesions", "presence_shift": 0.1},
        warnings=["Mind <this>."],
        found_by="search",
    )
    for lesion in made_up.content["lesions"]:
        lesion["score"] = 0.87
    made_up.content["lesions"][0]["overlaps"] = [2]
    made_up.content["lesions"][0]["hypotheses"][0] |= {"cut_off": True, "at_border": True}
    text = " ".join(Read(made_up.write(tmp_path / "report.html").read_text(encoding="utf-8")).words.split())
    for said in (
        "Calibrated on whole lesions.", "Warning Mind <this>.", "Experimental search", "score 0.87",
        "overlap those of lesion 2", "apex", "border of the region that the model looked at", "border of the scan",
    ):  # fmt: skip
        assert said in text, said


def test_classes_have_their_own_sizes(made, tmp_path):
    text = Read(made("classes").write(tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert re.search(r"core \d+ mm³", text)
    assert re.search(r"rim \d+ mm³", text)


def test_names_cannot_break_the_page(made, tmp_path):
    made_up = made()
    harmless = Read(made_up.write(tmp_path / "harmless.html").read_text(encoding="utf-8"))
    made_up.content["lesions"][0]["name"] = '</script><script>alert("x")</script>'
    made_up.content["classes"][1] = "</script><b>"
    read = Read(made_up.write(tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not read.open
    assert '</script><script>alert("x")</script>' in read.words
    assert sum(tag == "script" for tag, _ in read.elements) == sum(tag == "script" for tag, _ in harmless.elements)


def test_of_many_lesions_only_some_have_voxels(made, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "LIVE", 1)
    text = made("two").write(tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="voxels-0"' in text
    assert 'id="voxels-1"' not in text
    assert text.count('src="data:image/png;base64,') == 4  # for each a summary and a picture
    assert "this page only holds the voxels of the first 1 lesion." in " ".join(text.split())


def test_a_preview_that_is_written_already_is_taken(made, tmp_path):
    (tmp_path / "lesion_01").mkdir()
    (tmp_path / "lesion_01" / "preview.png").write_bytes(b"the picture")
    text = made().write(tmp_path / "report.html").read_text(encoding="utf-8")
    assert f'src="data:image/png;base64,{base64.b64encode(b"the picture").decode()}"' in text


@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_the_same_prediction_gives_the_same_bytes(made, tmp_path, unit):
    first, second = (made().write(tmp_path / name, unit).read_bytes() for name in ("a.html", "b.html"))
    assert first == second
    assert len(first) < 5e6


def test_windows_are_those_of_ct_or_of_the_values():
    assert list(windows(np.zeros(3), "HU")) == ["Lung", "Soft tissue", "Bone"]
    found = windows(np.arange(1001.0), "relative")
    np.testing.assert_allclose(found["Auto"], (5, 995))
    assert found["Full range"] == (0, 1000)
    assert all(low < high for low, high in windows(np.ones(4), "relative").values())


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (words.place((-57.94, 0.0, 3.0)), "x −57.9, y 0.0, z 3.0 mm"),
        (words.extent(size(volume_mm3=6391.159)), "6391 mm³ (6.39 mL)"),
        (words.extent(size(volume_mm3=45.678)), "45.7 mm³"),
        (words.extent(size(volume_mm3=0.0)), "0 mm³"),
        (words.extent(size(area_mm2=120.4)), "120 mm²"),
        (words.interval((0.374, 0.495)), "37 to 50 %"),
        (words.interval(None), ""),
        (words.slices(1), "1 slice"),
        ([words.ambiguity(value) for value in (0, 0.2, 0.3, 0.41, 1)], ["low", "low", "moderate", "high", "high"]),
    ],
)
def test_numbers_are_said_with_their_units(said, wanted):
    assert said == wanted
