"""Closed forms of the extra terms."""

import math

import pytest
import torch

from ganvas.losses import auxiliary


def test_feature_matching() -> None:
    real, fake = torch.tensor([[0.0, 2.0], [2.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    # means (1, 3) and (0, 1): squares 1 and 4, mean 2.5
    assert float(auxiliary.feature_matching(real, fake)) == pytest.approx(2.5)


def test_mode_seeking() -> None:
    z = torch.tensor([[0.0], [1.0], [0.0], [2.0]])
    x = torch.tensor([[0.0, 0.0], [2.0, 2.0], [0.0, 0.0], [1.0, 1.0]])
    # pair 1: moved 2 for 1 -> 1/2; pair 2: moved 1 for 2 -> 2; mean 1.25
    assert float(auxiliary.mode_seeking(x, z)) == pytest.approx(1.25, rel=1e-4)
    labels = torch.tensor([0, 0, 1, 2])
    assert float(auxiliary.mode_seeking(x, z, labels)) == pytest.approx(0.5, rel=1e-4), (
        "pairs of two labels do not count"
    )
    mixed = torch.tensor(
        [0, 1, 0, 1]
    )  # sorted: pairs (0, 2), whose latents are the same, and (1, 3), moved 1 for 1
    x[2] = 4.0
    assert float(auxiliary.mode_seeking(x, z + torch.tensor([[0.0], [0], [4], [0]]), mixed)) == pytest.approx(
        1, rel=1e-4
    )


def test_mode_seeking_leaves_out_pairs_of_one_latent() -> None:
    """Codes alone are the same in many pairs, and so is what is drawn of them: 0 / 0."""
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    x = (2 * z).requires_grad_()
    found = auxiliary.mode_seeking(x, z)
    assert found.item() == pytest.approx(0.5, rel=1e-4)
    found.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert auxiliary.mode_seeking(x[:2], z[:2]).item() == 0


def test_top_k() -> None:
    logits = torch.tensor([0.1, 3.0, -2.0, 1.0])
    assert set(auxiliary.top_k(logits, 0.5).tolist()) == {1, 3}
    assert auxiliary.top_k(logits, 0.01).tolist() == [1]


def test_codes_and_classes() -> None:
    z = torch.tensor([[1.0, 2.0, 9.0], [0.0, 0.0, 9.0]])
    assert float(auxiliary.code_loss(torch.zeros(2, 2), z)) == pytest.approx(0.5 * (5 + 0) / 2)
    assert float(auxiliary.class_loss(torch.zeros(3, 4), torch.tensor([0, 1, 2]))) == pytest.approx(
        math.log(4)
    )
