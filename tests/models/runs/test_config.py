"""Settings: which layer takes precedence, and the message for a bad key."""

from pathlib import Path

import pytest

from ambiseg.models.methods.registry import methods
from ambiseg.models.runs.config import make_config, presets
from ambiseg.preprocessing.errors import DataError, InputError, UsageError


@pytest.mark.parametrize("preset", presets())
@pytest.mark.parametrize("method", methods())
def test_every_preset_fits_every_method(preset: str, method: str) -> None:
    assert make_config(method, preset).method == method


def test_file_below_settings_below_flags(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("steps = 1\nbatch = 1\nseed = 1\n[data]\ncrop = 32\n")
    made = make_config("probunet", "small", file, ["batch=2", "seed=2", "data.readers=3"], {"seed": 3, "steps": None})
    assert (made.steps, made.batch, made.seed) == (1, 2, 3)
    assert (made.data.crop, made.data.readers) == (32, 3)
    assert made.optimiser.learning_rate == make_config("probunet", "small").optimiser.learning_rate


def test_tables_for_one_method_and_options_for_all_that_have_them(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("batch = 3\n[for.modal]\nbatch = 5\n[for.modal.options]\ncodes = 9\n")
    modal, other = (make_config(name, "small", file) for name in ("modal", "ssn"))
    assert (modal.batch, modal.options["codes"], other.batch) == (5, 9, 3)
    assert list(modal.options["widths"]) == list(other.options["widths"])  # said once, in the preset's options
    assert "codes" not in other.options
    file.write_text("[for.modle]\nbatch = 5\n")
    with pytest.raises(UsageError, match=r"No method 'modle': expected one of .*modal"):
        make_config("modal", "small", file)


def test_an_alias_is_the_method_itself() -> None:
    assert make_config("car", "small") == make_config("refine", "small")


def test_options_are_filled_in_from_the_signature() -> None:
    made = make_config("generalized", "paper", settings=["options.family=full"])
    assert made.options["family"] == "full"
    assert made.options["widths"] == (32, 64, 128, 512)


def test_the_papers_settings() -> None:
    """Bhat et al. 2022, table 3, and Kohl et al. 2018."""
    from ambiseg.models.methods.generalized import PAPER

    assert (PAPER["mixture-full"].dim, PAPER["mixture-full"].components, PAPER["mixture-full"].tau) == (2, 9, 0.28)
    assert (PAPER["mixture-axis"].dim, PAPER["mixture-axis"].components, PAPER["mixture-axis"].tau) == (4, 5, 0.36)
    assert (PAPER["axis"].dim, PAPER["full"].dim) == (6, 2)
    made = make_config("probunet", "paper")
    assert (made.batch, made.optimiser.learning_rate, made.steps, made.data.crop) == (32, 1e-4, 240_000, 128)


def test_the_papers_settings_of_modal_and_refine() -> None:
    """Qiu and Lui 2020, appendix A; Kassapis et al. 2021, appendix A."""
    made = make_config("modal", "paper")
    assert [share * made.steps for share, _ in made.optimiser.milestones] == pytest.approx([30_000, 90_000, 120_000])
    rates = [factor * made.optimiser.learning_rate for _, factor in made.optimiser.milestones]
    assert rates == pytest.approx([5e-5, 1e-5, 5e-6])
    assert (made.options["widths"], made.options["latent_widths"]) == ((32, 64, 128, 192), (256, 512))
    assert (made.options["codes"], made.options["code_dim"], made.options["commitment"]) == (512, 128, 0.25)
    assert make_config("modal", "mnist").batch == 256
    made = make_config("refine", "paper")
    assert (made.optimiser.betas, made.optimiser.learning_rate, made.optimiser.weight_decay) == (
        (0.5, 0.99),
        2e-4,
        5e-4,
    )
    assert (made.options["samples"], made.options["latent_dim"]) == (20, 8)
    assert (made.options["adversarial_weight"], made.options["calibration_weight"]) == (10.0, 5.0)
    made = make_config("refine", "cityscapes")
    assert (made.batch, made.options["samples"], made.options["latent_dim"]) == (16, 7, 32)


def test_the_papers_settings_of_later_methods() -> None:
    """Gao et al. 2023, Monteiro et al. 2020, Baumgartner et al. 2019 and Zbinden et al. 2023: what they share."""
    for name, centre in {"mose": "crop", "ssn": "half", "phiseg": "half", "ccdm": "half"}.items():
        made = make_config(name, "paper")
        assert made.data.centre == centre
        if name != "ccdm":
            assert len(made.options["widths"]) == 7
            assert made.options["norm"] == "each"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["stepps=3"], r"Unknown option 'stepps' of train: expected one of .*steps"),
        (["optimiser.lr=3"], r"Unknown option 'optimiser.lr' of train: expected one of .*learning_rate"),
        (["options.dim=3"], r"Unknown option 'dim' of method probunet: expected one of .*latent_dim"),
        (["options.beta=-1"], r"Option 'beta' of method probunet: .*greater than or equal to 0, got -1"),
        (["options.norm=3"], r"Option 'norm' of method probunet: input should be a valid boolean, or 'each', got 3"),
        (["data.window=[3]"], r"Option 'data.window' of train: input is too short, or 'auto' or 'crop', got \[3\]"),
        (
            ["data.window=[1, 'a']"],
            r"Option 'data.window' of train: .*valid number, or 'auto' or 'crop', got \[1, 'a'\]",
        ),
        (["steps=many"], r"Option 'steps' of train: .*integer.*got 'many'"),
        (["steps"], r"Setting 'steps' cannot be read: expected KEY=VALUE"),
    ],
)
def test_a_bad_setting_is_named(settings: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_config("probunet", "small", settings=settings)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"No method 'unet': expected one of .*generalized.*probunet"):
        make_config("unet", "small")
    with pytest.raises(UsageError, match=r"No preset 'big': expected one of .*paper.*small"):
        make_config("probunet", "big")


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No settings file .*none\.toml"):
        make_config("probunet", "small", tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(DataError, match=r"bad\.toml is not TOML"):
        make_config("probunet", "small", tmp_path / "bad.toml")
