"""Sharing models: what goes into the zip, what is refused in someone else's zip, what an installed model predicts."""

import hashlib
import json
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from ambiseg.models.bundle import (
    export_model,
    find_model,
    install_model,
    installed_models,
    models_folder,
    remove_model,
    shipped_models,
    verify_model,
)
from ambiseg.models.bundle import metadata as metadata_module
from ambiseg.models.bundle.export_run import halved
from ambiseg.models.bundle.installed import DEFAULT
from ambiseg.models.core.calibration import Calibration, Reweighting
from ambiseg.models.core.lesion_slices import Extent
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.evaluation.rows import data_for
from ambiseg.models.methods.registry import methods
from ambiseg.models.metrics.catalogue import CATALOGUE
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.files import sha256
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_card import split_counts

MadeRun = Callable[..., Path]
CPU = torch.device("cpu")
FIGURE = {"mean": 0.25, "sd": 0.1, "low": 0.2, "high": 0.3, "cases": 3}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with an empty place for installed models beside it, and no model that is shipped."""
    folder = tmp_path / "installed"
    monkeypatch.setattr("ambiseg.models.bundle.installed.SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("AMBISEG_MODELS", str(folder))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def calibrate(run: Path, **numbers: Any) -> Calibration:
    found = Calibration(
        slices=Reweighting(presence_shift=0.5, size_sharpness=1.5), samples=16, seed=0, split="val", data_hash="d" * 64,
        weights_hash=sha256(run / "model.safetensors"),
    ).model_copy(update=numbers)  # fmt: skip
    found.write(run)
    return found


def evaluated(stored_run: Callable[..., Path], run: Path, split: str = "test", **about: Any) -> None:
    """Put an evaluation of a run's weights into its folder."""
    hashed = sha256(run / "model.safetensors")
    figures = {measure.name: FIGURE for measure in CATALOGUE} | {"mode_error": dict.fromkeys(FIGURE) | {"cases": 0}}
    said = {"weights_hash": hashed, "figures": figures, "split": split} | about
    said["estimators"] = {"distance": "1 - IoU"}
    stored_run("toy", folder=run / split, patients=["a", "a", "b"], about=said, ged16_v=[0.1, 0.2, 0.3])
    (run / split / "evaluation-test").rename(run / f"evaluation-{split}")


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def changed(path: Path, change: Callable[[dict[str, bytes]], None], output: str = "bad.zip") -> Path:
    """A copy of a model's zip whose content, bytes by name, was changed."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return Path(output)


def summed(content: dict[str, bytes], top: str = "toy") -> None:
    """Make the hashes right again."""
    lines = [
        f"{hashlib.sha256(value).hexdigest()}  {name.split('/')[1]}\n"
        for name, value in content.items()
        if not name.endswith("SHA256SUMS")
    ]
    content[f"{top}/SHA256SUMS"] = "".join(lines).encode()


def draws(path: Path) -> np.ndarray:
    image = np.random.default_rng(0).uniform(-1000, 400, (2, 1, 16, 16)).astype(np.float32)
    return load_trained(path, CPU).predictive(image).sample(3, generator_for("draws")).numpy()


def test_an_installed_model_gives_what_the_run_gives(made_run: MadeRun, place: Path) -> None:
    run = made_run()
    calibrate(run)
    exported = export_model(run, Path("m.zip"), name="mine")
    assert exported.weights_hash == sha256(run / "model.safetensors")
    folder = install_model(Path("m.zip"))
    assert folder == place / "mine"
    np.testing.assert_array_equal(draws(folder), draws(run))
    assert load_trained(folder, CPU).calibration == load_trained(run, CPU).calibration
    assert load_trained(folder, CPU).name == "mine"
    assert (folder / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)
    assert [file.name for file in place.iterdir()] == ["mine"]


def test_the_same_run_gives_the_same_zip_without_a_path(made_run: MadeRun, tmp_path: Path) -> None:
    run = made_run()
    calibrate(run)
    (run / "checkpoint.pt").write_bytes(b"never shared")
    first, second = (export_model(run, Path(name)).path for name in ("a.zip", "b.zip"))
    assert first.read_bytes() == second.read_bytes()
    assert names(first) == [
        "toy/LICENSE", "toy/README.md", "toy/SHA256SUMS", "toy/calibration.json", "toy/metadata.json",
        "toy/model.safetensors", "toy/run.json",
    ]  # fmt: skip
    assert b"somewhere" in (run / "run.json").read_bytes()
    for secret in (b"somewhere", str(tmp_path).encode(), b"never shared"):
        assert secret not in first.read_bytes()


def test_half_precision_is_half_the_size_and_nearly_the_same(made_run: MadeRun) -> None:
    run = made_run("generalized")
    fitted = calibrate(run)
    exported = export_model(run, Path("m.zip"), half=True)
    folder = install_model(Path("m.zip"))
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values() if tensor.ndim > 1} == {torch.float16}
    assert (folder / "model.safetensors").stat().st_size < 0.75 * (run / "model.safetensors").stat().st_size
    trained = load_trained(folder, CPU)
    assert {parameter.dtype for parameter in trained.method.parameters()} == {torch.float32}
    np.testing.assert_allclose(draws(folder), draws(run), atol=0.02)
    assert not np.array_equal(draws(folder), draws(run))
    assert trained.calibration == fitted.model_copy(update={"weights_hash": exported.weights_hash})
    assert exported.weights_hash == sha256(folder / "model.safetensors")
    assert "half precision" in (folder / "README.md").read_text()


def test_a_weight_too_large_for_half_precision_is_named() -> None:
    content = safetensors.torch.save({"head.weight": torch.full((2, 2), 1e6), "head.bias": torch.full((2,), 1e6)})
    with pytest.raises(UsageError, match=r"weight head\.weight is too large .* without `half`"):
        halved(content)


def test_the_card_says_what_is_known(made_run: MadeRun, known_truth: Store, stored_run: Callable[..., Path]) -> None:
    run = made_run(data=known_truth)
    calibrate(run)
    evaluated(stored_run, run)
    licence = Path("terms.txt")
    licence.write_text("Ask first.\n")
    exported = export_model(
        run, Path("m.zip"), version="2.1", authors="A. Reader", description="Finds toys.", licence="terms.txt"
    )
    assert exported.notes == ()
    folder = install_model(Path("m.zip"))
    card = (folder / "README.md").read_text()
    for words in (
        "# toy\n\nFinds toys.\n",
        "not a medical device",
        "| version | 2.1 |",
        "A. Reader",
        "Kohl et al., A Probabilistic U-Net",
        known_truth.content_hash,
        known_truth.manifest.source,
        "| train | {} | {} | {} |".format(*split_counts(known_truth, "train")),
        "On the split `test`",
        "crops of 2 patients",
        "| GED16, unbiased | 0.250 | 0.200 to 0.300 | lower |",
        "sharpened by 1.50",
        "crops of 16 x 16",
        "widths = [6, 8]",
        "licence | see LICENSE",
    ):
        assert words in card
    assert "Mode probabilities" not in card  # a figure that is not defined
    assert "not evaluated" not in card
    assert (folder / "LICENSE").read_text() == "Ask first.\n"
    about = json.loads((folder / "metadata.json").read_text())
    assert (about["name"], about["version"], about["authors"]) == ("toy", "2.1", "A. Reader")
    assert about["eval_metrics"]["ged16_u"] == 0.25
    assert "mode_error" not in about["eval_metrics"]
    assert about["network_data_format"]["inputs"]["image"]["spatial_shape"] == [16, 16]
    assert about["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "lesion"}


@pytest.mark.parametrize("among", [None, 4])
def test_the_card_says_which_slices_the_data_lack(made_run: MadeRun, among: int | None) -> None:
    """Of data whose slices were chosen by what readers marked, and of others."""
    run = made_run()
    calibrate(run, extent=Extent(intercept=1.0, slope=1.0, peak=0.0, among=among))
    export_model(run, Path("m.zip"))
    card = (install_model(Path("m.zip")) / "README.md").read_text()
    assert ("It has not learned what lesions look like that nobody marked" in card) == (among is not None)
    assert "every patient of its data" not in card


def test_the_card_says_what_is_not_known(made_run: MadeRun, stored_run: Callable[..., Path]) -> None:
    """An evaluation of other weights is no evaluation, one on the validation split flatters."""
    run = made_run(settings=["data.centre=half"])
    evaluated(stored_run, run, weights_hash="0" * 64)
    exported = export_model(run, Path("m.zip"))
    assert len(exported.notes) == 1
    assert "belongs to other weights and was left out: run `ambiseg evaluate" in exported.notes[0]
    card = (install_model(Path("m.zip")) / "README.md").read_text()
    for words in (
        "It was not evaluated",
        "not calibrated",
        "| licence | none stated |",
        "CT in HU",
        "0.5 mm per pixel",
        "| intensity window | -1000 to 400, as -1 to 1 |",
    ):
        assert words in card
    assert "somewhere" not in card
    evaluated(stored_run, run, "val")
    export_model(run, Path("m.zip"), overwrite=True)
    card = (install_model(Path("m.zip"), overwrite=True) / "README.md").read_text()
    assert "On the split `val`" in card
    assert "optimistic" in card


def test_every_method_has_its_papers_and_monais_fields_are_there(made_run: MadeRun) -> None:
    assert all(method.references for method in methods().values())
    needed = {
        "version", "pytorch_version", "numpy_version", "optional_packages_version", "name", "task", "description",
        "authors", "copyright", "data_source", "data_type", "image_classes", "label_classes", "pred_classes",
        "eval_metrics", "intended_use", "references", "network_data_format",
    }  # fmt: skip
    assert needed <= metadata_module.Metadata.model_fields.keys()


def add(name: str, value: bytes = b"x") -> Callable[[dict[str, bytes]], None]:
    return lambda content: content.update({name: value})


def move(content: dict[str, bytes]) -> None:
    for name in list(content):
        content[name.replace("toy/", "../toy/")] = content.pop(name)


STRANGE = [
    (add("../outside"), r"entry '\.\./outside' points out of the folder"),
    (add("/etc/outside"), "points out of the folder"),
    (add("C:/outside"), "points out of the folder"),
    (add("toy\\..\\outside"), "points out of the folder"),
    (move, "points out of the folder"),
    (add("toy/checkpoint.pt"), "may run code when it is loaded: weights come as model.safetensors alone"),
    (add("toy/weights.PKL"), "may run code"),
    (add("toy/setup.py"), "'toy/setup.py' is not a file of a model"),
    (add("toy/inner/run.json"), "is not a file of a model"),
    (add("run.json"), "is not a file of a model"),
    (add("toy/"), None),
    (add("other/"), "holds 2 folders"),
    (add("other/LICENSE"), "holds LICENSE twice"),
    (add(".hidden/LICENSE"), "is not a file of a model"),
    (add("toy/model.safetensors", bytes(2**24)), "unpacks to over 100 times its size"),
    (lambda content: content.update({f"toy/{n}/{'x' * 200}": b"" for n in range(999)}), "lists far too many entries"),
    (add("toy/README.md", b" " * (2**20 + 1)), "'toy/README.md' is larger than a model's can be: 1,048,577 bytes"),
    (lambda content: content.update({f"toy/{n}.txt": b"" for n in range(99)}), "holds 106 entries"),
    (lambda content: content.pop("toy/LICENSE"), "lacks LICENSE"),
    (lambda content: content.clear(), "holds 0 folders"),
    (add("toy/LICENSE", b"other terms"), "is damaged, LICENSE is not as it was exported"),
    (add("toy/model.safetensors", b"x"), "is damaged, model.safetensors is not"),
    (add("toy/SHA256SUMS", b"nothing"), "is damaged, SHA256SUMS is not"),
    (add("toy/SHA256SUMS", b""), "has no hash of its"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), STRANGE)
def test_a_strange_zip_is_refused_and_nothing_is_kept(
    made_run: MadeRun, place: Path, tmp_path: Path, change: Any, message: str | None
) -> None:
    run = made_run()
    calibrate(run)
    before = {path for path in tmp_path.rglob("*") if path.name != "bad.zip"}
    bad = changed(export_model(run, Path("m.zip")).path, change)
    if message is None:
        assert install_model(bad) == place / "toy"
        return
    with pytest.raises(DataError, match=message):
        install_model(bad)
    with pytest.raises(DataError, match=message):
        verify_model(bad)
    left = {path for path in tmp_path.rglob("*") if path.name not in ("bad.zip", "m.zip")}
    assert left - before == set()


def entry(name: str, **about: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for key, value in about.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (entry("toy/LICENSE", external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link or a device"),
        (entry("toy/LICENSE", compress_type=zipfile.ZIP_LZMA), "packed in a rare way"),
    ],
)
def test_links_and_rare_packings_are_refused(info: zipfile.ZipInfo, message: str) -> None:
    with zipfile.ZipFile("bad.zip", "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(DataError, match=message):
        install_model(Path("bad.zip"))


def test_an_encrypted_entry_is_refused(made_run: MadeRun) -> None:
    content = bytearray(export_model(made_run(), Path("m.zip")).path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1
    Path("bad.zip").write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        install_model(Path("bad.zip"))


def test_what_is_no_zip_or_cut_short_is_refused(made_run: MadeRun) -> None:
    whole = export_model(made_run(), Path("m.zip")).path.read_bytes()
    with pytest.raises(InputError, match=r"No file nowhere\.zip: expected a model's zip"):
        install_model(Path("nowhere.zip"))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", b"hello", whole[: len(whole) // 2], bytes(flipped)):
        Path("bad.zip").write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.zip is (not a zip, or )?damaged"):
            install_model(Path("bad.zip"))


def other_record(**config: Any) -> Callable[[dict[str, bytes]], None]:
    """Another run.json, with the right hashes."""

    def change(content: dict[str, bytes]) -> None:
        record = json.loads(content["toy/run.json"])
        record["config"].update(config)
        content["toy/run.json"] = json.dumps(record).encode()
        summed(content)

    return change


def with_data(content: dict[str, bytes], **data: Any) -> None:
    """Another data set in run.json, with the right hashes."""
    record = json.loads(content["toy/run.json"])
    record["data"].update(data)
    content["toy/run.json"] = json.dumps(record).encode()
    summed(content)


def other_crop(crop: int) -> Callable[[dict[str, bytes]], None]:
    def change(content: dict[str, bytes]) -> None:
        data = json.loads(content["toy/run.json"])["config"]["data"]
        other_record(data=data | {"crop": crop})(content)

    return change


def other_file(name: str, value: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(content: dict[str, bytes]) -> None:
        content[f"toy/{name}"] = value
        summed(content)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_record(method="newest"), "made for another version of ambiseg: No method 'newest'"),
        (other_record(options={"depth": 3}), "made for another version of ambiseg: Unknown option 'depth'"),
        (other_record(options={"widths": [6, 9], "convs": 1}), "do not belong together"),
        (other_record(options={"widths": [6, 10**7], "convs": 1}), r"Option 'widths\.1' .* less than or equal to 4096"),
        (other_record(options={"widths": [6, 10**25], "convs": 1}), r"Option 'widths\.1' of method probunet"),
        (other_record(options={"widths": [4] * 3000, "convs": 1}), "Option 'widths' .* at most 12 items"),
        (other_record(options={"widths": [6, 8], "convs": 10**6}), "Option 'convs' .* less than or equal to 16"),
        (other_record(options={"widths": [4096] * 12}), "has more than 5,000 tensors or 1,073,741,824 numbers"),
        (other_record(options={"latent_dim": 10**6}), "Option 'latent_dim' .* less than or equal to 1024"),
        (lambda content: with_data(content, class_names=[str(n) for n in range(10**4)]), "for 10000 classes: expected"),
        (lambda content: with_data(content, channels=10**9), "cannot read 1000000000 channels"),
        (other_crop(10**6), "do not belong together"),
        (other_crop(0), "do not belong together"),
        (other_record(shape="round"), "do not belong together"),
        (other_file("run.json", b"[" * 5000), "do not belong together"),
        (other_file("model.safetensors", b"\x80\x04pickled"), "do not belong together"),
        (other_file("model.safetensors", (2**40).to_bytes(8, "little") + b"{}"), "names more tensors than a model has"),
        (other_file("model.safetensors", (2).to_bytes(8, "little") + b"{}"), "holds other weights than probunet"),
        (other_file("calibration.json", b"{}"), "do not belong together"),
        (other_file("metadata.json", b"{}"), "a metadata.json that is damaged or of another version"),
    ],
)
def test_a_zip_with_right_hashes_that_does_not_work_is_refused(
    made_run: MadeRun, place: Path, change: Any, message: str
) -> None:
    bad = changed(export_model(made_run(), Path("m.zip")).path, change)
    verify_model(bad)
    with pytest.raises(DataError, match=message):
        install_model(bad)
    assert not place.exists()


def test_texts_that_a_terminal_would_obey_are_refused(made_run: MadeRun) -> None:
    def change(content: dict[str, bytes]) -> None:
        about = json.loads(content["toy/metadata.json"]) | {"version": "1\x1b[2J"}
        content["toy/metadata.json"] = json.dumps(about).encode()
        summed(content)

    with pytest.raises(DataError, match=r"metadata\.json that is damaged"):
        install_model(changed(export_model(made_run(), Path("m.zip")).path, change))
    with pytest.raises(UsageError, match="`version` must be one line"):
        export_model(made_run(), version="1\n2")


def test_a_failed_replacement_leaves_the_old_model(made_run: MadeRun) -> None:
    good = export_model(made_run(), Path("m.zip")).path
    folder = install_model(good)
    with pytest.raises(UsageError, match="'toy' is installed already: choose another `name`"):
        install_model(good)
    with pytest.raises(DataError):
        install_model(changed(good, add("toy/LICENSE", b"")), overwrite=True)
    assert verify_model("toy") == verify_model(good) == verify_model(folder)
    (folder / "LICENSE").write_text("mine")
    install_model(good, overwrite=True)
    verify_model("toy")
    assert install_model(good, name="second").name == "second"


def test_what_is_installed_can_be_listed_verified_and_removed(made_run: MadeRun, place: Path) -> None:
    assert installed_models() == []
    run = made_run("mheads", {"heads": 2})
    install_model(export_model(run, Path("m.zip"), name="heads").path)
    calibrate(run)
    install_model(export_model(run, Path("n.zip"), name="even").path)
    even, heads = installed_models()
    assert (even.name, even.calibrated, heads.name, heads.calibrated) == ("even", True, "heads", False)
    assert heads.metadata is not None
    assert (heads.metadata.method, heads.metadata.data_source) == ("mheads", "made-lesions")
    assert heads.size == sum(file.stat().st_size for file in heads.path.iterdir())
    weights = bytearray((place / "heads" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (place / "heads" / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match=r"heads is damaged, model\.safetensors is not as it was exported"):
        verify_model("heads")
    (place / "even" / "metadata.json").unlink()
    with pytest.raises(DataError, match=r"even lacks metadata\.json"):
        verify_model("even")
    assert installed_models()[0].metadata is None
    with pytest.raises(InputError, match=r"holds no SHA256SUMS: expected a model that was exported, not a run"):
        verify_model(run)
    with pytest.raises(InputError, match=r"No model 'odd' is installed in .*: there are even, heads\."):
        remove_model("odd")
    with pytest.raises(InputError, match="No model"):
        remove_model("../work")
    assert remove_model("heads") == place / "heads"
    assert [file.name for file in place.iterdir()] == ["even"]
    remove_model("even")
    with pytest.raises(InputError, match="there is none, install one with"):
        verify_model("even")


def test_the_model_that_is_meant(made_run: MadeRun, place: Path) -> None:
    """A run's folder, then an installed name; unsaid: the newest run, else the only installed model."""
    with pytest.raises(InputError, match="train one with `ambiseg train`, install one with"):
        find_model()
    run = made_run()
    zipped = export_model(run, Path("m.zip"), name="one").path
    install_model(zipped)
    assert find_model() == find_model(None) == place / "one"
    assert find_model("one") == place / "one"
    assert find_model(run) == find_model(str(run)) == run
    install_model(zipped, name="two")
    with pytest.raises(InputError, match="choose one as `model`, there are one, two"):
        find_model()
    with pytest.raises(InputError, match=r"No model 'three': .* there are one, two"):
        find_model("three")
    with pytest.raises(InputError, match=r"m\.zip is a file: install it with `ambiseg model install m\.zip`"):
        find_model("m.zip")
    Path("runs").mkdir()
    run.rename("runs/new")
    assert find_model() == Path("runs/new")
    Path("runs/new").rename("one")
    assert find_model("one") == Path("one")  # a folder wins over a name


def test_a_shipped_model_is_meant_when_there_is_no_other(made_run: MadeRun, place: Path) -> None:
    shipped = place.parent / "shipped"
    zipped = export_model(made_run(), Path("m.zip"), name=DEFAULT).path
    shipped.mkdir()
    install_model(zipped).rename(shipped / DEFAULT)
    assert [model.name for model in shipped_models()] == [DEFAULT]
    assert find_model() == find_model(DEFAULT) == shipped / DEFAULT
    assert "model.safetensors" in verify_model(DEFAULT)
    with pytest.raises(InputError, match=f"No model '{DEFAULT}' is installed"):
        remove_model(DEFAULT)
    install_model(zipped, name="own")
    assert find_model() == place / "own"
    install_model(zipped)
    assert find_model(DEFAULT) == place / DEFAULT  # the user's own of that name wins


def test_an_installed_model_asks_for_data(made_run: MadeRun) -> None:
    folder = install_model(export_model(made_run(), Path("m.zip")).path)
    with pytest.raises(InputError, match="shared without its data set: give a dataset store as `data`"):
        data_for(Run.open(folder).record)


def test_what_cannot_be_exported_is_said(made_run: MadeRun) -> None:
    run = made_run()
    for name in ("../toy", "a b", "", ".toy", "x" * 65, "CON:"):
        with pytest.raises(UsageError, match="A model cannot be called"):
            export_model(run, Path("m.zip"), name=name or "/")
    with pytest.raises(InputError, match=r"No licence 'CC-BY-5': expected a text file, or one of .*CC-BY-4\.0"):
        export_model(run, Path("m.zip"), licence="CC-BY-5")
    Path("binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is not a licence: expected a text in UTF-8"):
        export_model(run, Path("m.zip"), licence="binary")
    calibrate(run, weights_hash="0" * 64)
    with pytest.raises(DataError, match="belongs to other weights"):
        export_model(run, Path("m.zip"))
    (run / "calibration.json").unlink()
    assert not Path("m.zip").exists()
    assert export_model(run, licence="MIT").path == Path("toy-1.0.0.zip")
    with pytest.raises(UsageError, match=r"toy-1\.0\.0\.zip exists already"):
        export_model(run)
    installed = install_model(Path("toy-1.0.0.zip"))
    with pytest.raises(UsageError, match="was exported already and is packed as it is: leave out `licence`, `half`"):
        export_model(installed, Path("again.zip"), licence="MIT", half=True)
    again = export_model("toy", Path("again.zip"))
    assert (again.path.read_bytes(), again.name) == (Path("toy-1.0.0.zip").read_bytes(), "toy")


def test_where_models_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMBISEG_MODELS")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert models_folder() == Path("/data/ambiseg/models")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/reader")
    assert models_folder() == Path("/home/reader/.local/share/ambiseg/models")
    monkeypatch.setattr("sys.platform", "darwin")
    assert models_folder() == Path("/home/reader/Library/Application Support/ambiseg/models")


KILLED = """
import os, sys
from pathlib import Path
import ambiseg.models.bundle.install as install
setattr(install, sys.argv[1], lambda *arguments: os.kill(os.getpid(), 9))
install.install_model(Path("m.zip"))
"""


@pytest.mark.slow
def test_a_killed_installation_leaves_nothing_after_the_next_one(
    made_run: MadeRun, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the place of models nor in the system's temporary folder, also when the next model is another one."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    export_model(made_run(), Path("m.zip"))
    export_model(made_run(name="other"), Path("other.zip"))
    for step in ("check_files", "_check_works"):
        assert subprocess.run([sys.executable, "-c", KILLED, step], check=False).returncode == -9
        assert (place / ".writing-toy" / "model.safetensors").is_file()
        assert installed_models() == []
    install_model(Path("other.zip"))
    assert [file.name for file in place.iterdir()] == ["other"]
    assert not list(scratch.iterdir())


@pytest.mark.slow
def test_an_installation_loads_no_compiler(made_run: MadeRun) -> None:
    """Torch's compiler costs seconds and leaves a folder behind; shapes are found without it, of every method."""
    for method in methods():
        export_model(made_run(method, name=method), Path(f"{method}.zip"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom ambiseg.models.bundle import install_model\n"
        "for path in sorted(Path().glob('*.zip')): install_model(path)\n"
        "found = {'torch._dynamo', 'torch._inductor'} & set(sys.modules)\nassert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
