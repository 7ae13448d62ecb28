"""Every size in a model's record has a bound, and a method's size is checked before memory is allocated for it."""

import time
from typing import Any

import pytest
import torch

from ambiseg.models.core.bounds import MOST_NUMBERS
from ambiseg.models.methods.constructor import options_model, outline
from ambiseg.models.methods.registry import build, check_options, find_method, methods
from ambiseg.models.runs.config import TrainConfig
from ambiseg.preprocessing.errors import UsageError


def numbers(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The whole numbers and lists in a JSON schema, None left out."""
    return [one for one in schema.get("anyOf", [schema]) if one.get("type") in ("integer", "array")]


@pytest.mark.parametrize("method", methods())
def test_every_whole_number_and_every_list_among_the_options_has_a_bound(method: str) -> None:
    for name, schema in options_model(find_method(method)).model_json_schema()["properties"].items():
        for one in numbers(schema):
            if one["type"] == "array":
                assert "maxItems" in one, name
                one = one["items"]
            assert "maximum" in one, name
            assert "minimum" in one, name


def test_the_crop_has_a_bound() -> None:
    schema = TrainConfig.model_json_schema()["$defs"]["DataSettings"]["properties"]
    assert schema["crop"]["maximum"] == 2048


@pytest.mark.parametrize("method", methods())
def test_an_outline_has_the_methods_shapes_and_draws_nothing(method: str) -> None:
    options = check_options(method, {})
    before = torch.get_rng_state()
    drawn = outline(find_method(method), 3, 2, options)
    assert torch.equal(torch.get_rng_state(), before)
    real = build(method, 3, 2, {})
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (drawn, real)]
    assert shapes[0] == shapes[1]
    assert {tensor.device.type for tensor in drawn.parameters()} == {"meta"}


@pytest.mark.parametrize("method", methods())
def test_the_largest_options_are_refused_at_once(method: str) -> None:
    """All sizes at their bounds make more than any machine holds: refused before a tensor is made, and in no time."""
    largest: dict[str, Any] = {}
    for name, schema in options_model(find_method(method)).model_json_schema()["properties"].items():
        for one in numbers(schema):
            most = one["items"]["maximum"] if one["type"] == "array" else one["maximum"]
            largest[name] = [most] * one["maxItems"] if one["type"] == "array" else most
    begun = time.process_time()
    with pytest.raises(UsageError, match=f"more than 5,000 tensors or {MOST_NUMBERS:,} numbers: choose smaller ones"):
        build(method, 3, 2, largest)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(("channels", "classes"), [(0, 2), (10**9, 2), (1, 0), (1, 10**9)])
def test_absurd_images_are_refused(channels: int, classes: int) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        build("probunet", channels, classes, {})
