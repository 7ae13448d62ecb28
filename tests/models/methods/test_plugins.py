"""Methods of other packages: a plug-in that is really installed, and others that cannot be used."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.methods import registry
from ambiseg.models.methods.registry import MethodMissing, find_method, methods, unusable_methods
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.conformance import check_method
from ambiseg.preprocessing.store.store import Store
from ambiseg.terminal import console as printed

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[3]
PLUGIN, MODULE = ROOT / "examples" / "method-plugin", "little_heads"
STEPS = ("steps=4", "batch=2", "data.crop=16", "validation.every=2", "validation.limit=2")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example plug-in, which pip builds and installs."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PLUGIN, folder / "source")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(folder / "site"), str(source)], check=True)
    return folder / "site"


def declare(site: Path, package: str, entry: str, code: str = "") -> None:
    """Put a package with one entry point into a folder of installed packages, as an installer leaves it there."""
    module = entry.partition(" = ")[2].partition(":")[0]
    site.mkdir(exist_ok=True)
    if code:
        (site / f"{module}.py").write_text(code)
    about = site / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[ambiseg.methods]\n{entry}\n")


@contextmanager
def seen(site: Path, *modules: str) -> Iterator[None]:
    """This process sees the packages in a folder, and forgets their modules after."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(site))
        look_again()
        yield
    for name in modules:
        sys.modules.pop(name, None)
    look_again()


def look_again() -> None:
    """What the registry found is forgotten."""
    for found in (registry._declared, registry._resolved, registry._loaded):
        found.cache_clear()


def test_a_plugin_is_listed_with_its_options(ambiseg: Command, plugin: Path) -> None:
    ours = list(methods())
    with seen(plugin, MODULE):
        assert list(json.loads(ambiseg("methods", "--json")[1])) == [*ours, "little-heads"]
        schema = json.loads(ambiseg("methods", "little-heads", "--json")[1])
    assert schema["properties"]["heads"]["default"] == 4
    assert list(methods()) == ours


def test_a_plugin_trains_and_loads_from_its_run(
    ambiseg: Command, plugin: Path, known_truth: Store, tmp_path: Path
) -> None:
    train = ["train", "-m", "little-heads", "-d", known_truth.path, "-o", tmp_path / "run", "--preset", "small"]
    settings = [word for setting in (*STEPS, "options.heads=3") for word in ("--set", setting)]
    with seen(plugin, MODULE):
        code, _, err = ambiseg(*train, *settings)
        assert code == 0, err
        trained = load_trained(tmp_path / "run", torch.device("cpu"))
        assert type(trained.method).__name__ == "LittleHeads"
        assert trained.predictive(np.zeros((1, 1, 9, 9))).atoms(5).labels.shape[1] == 3
    code, _, err = ambiseg("evaluate", tmp_path / "run", "-d", known_truth.path)
    assert code == 4
    assert "was trained with the method 'little-heads', which is not available here: install the package" in err


@pytest.mark.slow
def test_the_example_keeps_the_contract(plugin: Path) -> None:
    with seen(plugin, MODULE):
        check_method("little-heads", {"width": 4})


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[None]:
    """This process sees packages whose methods cannot be used, each for another reason."""
    site = tmp_path / "site"
    declare(site, "falls", "falling = falls:Falling", "raise RuntimeError('no such wheel.\\nMore below.')")
    declare(site, "lacks", "lacking = lacks:Lacking", "import torch")
    declare(site, "strange", "stranger = strange:number", "number = 3")
    declare(site, "twin-a", "twin = twin_a:Twin")
    declare(site, "twin-b", "twin = twin_b:Twin")
    declare(site, "usurper", "probunet = usurper:Net")
    with seen(site, "falls", "lacks", "strange"):
        yield


def test_methods_that_cannot_be_used_are_listed_and_harm_no_others(
    ambiseg: Command, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(printed._stdout, "width", 300)
    alone = ambiseg("methods", "probunet")
    request.getfixturevalue("broken")
    code, out, err = ambiseg("methods")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if "cannot be used" in line}
    assert set(rows) == {"falling", "lacking", "stranger", "twin", "probunet"}
    assert "the package falls cannot be used: RuntimeError: no such wheel" in rows["falling"]
    assert "usurper cannot be used: ambiseg has a method of that name, too" in rows["probunet"]
    assert list(json.loads(ambiseg("methods", "--json")[1])) == list(methods())
    assert ambiseg("methods", "probunet") == alone


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("falling", "Method 'falling' of the package falls cannot be used: RuntimeError: no such wheel."),
        ("lacking", "Method 'lacking' of the package lacks cannot be used: AttributeError: module 'lacks' has no"),
        ("stranger", "Method 'stranger' of the package strange cannot be used: its entry point is not a subclass of"),
        ("twin", "Method 'twin' of the package twin-a cannot be used: twin-b has a method of that name, too."),
    ],
)
@pytest.mark.usefixtures("broken")
def test_a_method_that_cannot_be_used_says_why_when_it_is_requested(ambiseg: Command, name: str, reason: str) -> None:
    code, _, err = ambiseg("train", "-m", name, "--print-config")
    assert (code, reason in " ".join(err.split())) == (2, True), err


def test_all_of_ours_can_be_used() -> None:
    assert [one for one in unusable_methods() if one.package == "ambiseg"] == []
    assert find_method("car") is methods()["refine"]
    with pytest.raises(MethodMissing, match="No method 'divination': expected one of generalized, probunet"):
        find_method("divination")
