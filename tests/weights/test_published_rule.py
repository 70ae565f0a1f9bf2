"""The first values that the rule has to give, as they were recorded with the outputs."""

from __future__ import annotations

import pytest
import torch

from tests.weights.published_rule import assert_record, rule_input, rule_state, rule_tensor

FIRST_VALUES = {
    "input_blocks.0.0.weight": ((32, 8, 3, 3), (0.0310623609, -0.00771506829, 0.0467772856)),
    "time_embed.0.bias": ((128,), (0.02001133, 0.100456409, 0.0442588478)),
    "out.0.weight": ((32,), (0.849584103, 0.885083139, 1.03073633)),
    "latent_encoder:encoder.conv_in.weight": ((32, 3, 3, 3), (0.267761737, 0.339631259, 0.317989737)),
    "pos_embed": ((1, 1370, 384), (0.802079082, 0.262800455, 0.415089846)),
}


@pytest.mark.parametrize("key", FIRST_VALUES)
def test_first_values_of_a_weight(key: str) -> None:
    shape, values = FIRST_VALUES[key]
    weight = rule_tensor(key, shape)
    assert weight.shape == shape
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight.flatten()[:3], torch.tensor(values), rtol=1e-8, atol=0)


def test_state_has_the_prefix_in_its_values_only() -> None:
    state = rule_state({"encoder.conv_in.weight": (32, 3, 3, 3)}, prefix="latent_encoder:")
    assert list(state) == ["encoder.conv_in.weight"]
    values = FIRST_VALUES["latent_encoder:encoder.conv_in.weight"][1]
    torch.testing.assert_close(state["encoder.conv_in.weight"].flatten()[:3], torch.tensor(values), rtol=1e-8, atol=0)


def test_first_values_of_an_input() -> None:
    values = torch.tensor((0.0706401318, -2.29301691, -1.07273483))
    torch.testing.assert_close(rule_input("input:x", (2, 8, 32, 32)).flatten()[:3], values, rtol=1e-8, atol=0)
    image = rule_input("input:image", (1, 3, 64, 64))
    assert (image.min(), image.max()) == (0, 1)  # clipped, at two standard deviations


@pytest.mark.parametrize("name", ["value", "shape", "mean", "std", "absmax"])
def test_a_record_that_differs_is_found(name: str) -> None:
    tensor = torch.tensor([[1.0, -3.0], [2.0, 4.0]])
    record = {"shape": [2, 2], "mean": 1.0, "std": 6.5**0.5, "absmax": 4.0, "index": [1, 2], "value": [-3.0, 2.0]}
    assert_record(tensor, record, 1e-6)
    wrong = {"value": [-3.0, 2.1], "shape": [4], "mean": 1.1, "std": 2.0, "absmax": 3.0}
    with pytest.raises(AssertionError):
        assert_record(tensor, {**record, name: wrong[name]}, 1e-6)
