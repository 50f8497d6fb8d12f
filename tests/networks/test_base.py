import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganvas.networks import from_uint8, to_uint8
from ganvas.networks.base import halvings


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_every_byte_survives_the_round_trip(value_range: tuple[float, float]) -> None:
    every = torch.arange(256, dtype=torch.uint8)
    floats = from_uint8(every, value_range)
    assert floats[0].item() == pytest.approx(value_range[0])
    assert floats[-1].item() == pytest.approx(value_range[1])
    assert torch.equal(to_uint8(floats, value_range), every)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6))
def test_out_of_range_values_are_clipped_not_wrapped(value: float) -> None:
    pixel = int(to_uint8(torch.tensor([value]), (-1.0, 1.0)))
    assert abs(pixel - 127.5 * (min(1.0, max(-1.0, value)) + 1)) <= 0.51


def test_halvings() -> None:
    sizes = {8: 1, 16: 2, 28: 2, 32: 3, 64: 4, 7: 0, 12: 1, 20: 2, 40: 3}
    assert {side: halvings(side) for side in sizes} == sizes
