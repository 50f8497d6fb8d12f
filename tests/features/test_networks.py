"""The published networks, rebuilt: the same weights must give what their authors' (or another's) code gives."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image

from ganvas.errors import GanvasError
from ganvas.features import inception, open_extractor
from ganvas.features.dinov2 import Dinov2, build
from ganvas.networks import efficientnet
from tools import peers

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """Two views of a photograph, uint8 (2, 3, 200, 240)."""
    picture = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)
    return torch.stack([picture[:, 100:300, 180:420], picture[:, 50:250, 250:490]])


def test_efficientnet_equals_the_package_that_published_it(photo: torch.Tensor) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(efficientnet.weights_path(), weights_only=True))
    ours = open_extractor("efficientnet-lite0", device="cpu")
    found = ours(photo)
    images = F.interpolate(photo.float(), (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = theirs((images - 127) / 128)
    torch.testing.assert_close(found.logits, expected, rtol=1e-4, atol=1e-4)
    assert found.features.shape == (2, 1280)
    assert ours.id == "efficientnet-lite0-57934424"


def test_efficientnet_names_what_it_sees() -> None:
    """Two photographs that scikit-learn ships: a dahlia (ImageNet's nearest class is daisy) and a Chinese palace."""
    pictures = [
        torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
        for name in ("flower.jpg", "china.jpg")
    ]
    logits = open_extractor("efficientnet-lite0", device="cpu")(torch.stack(pictures)).logits
    assert logits is not None
    tops = logits.topk(5).indices.tolist()
    assert 985 in tops[0], tops
    assert 698 in tops[1], tops


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with random weights that keep activations alive, as a .pth file."""
    torch.manual_seed(0)
    network = inception.Inception2015()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.2, 1)  # type: ignore[union-attr, operator]
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.1, 0.1)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def test_inception_equals_torch_fidelity(
    random_inception: Path, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = peers.torch_fidelity_inception().FeatureExtractorInceptionV3(
        "inception-v3-compat",
        ["2048", "logits_unbiased"],
        feature_extractor_weights_path=str(random_inception),
    )
    digest = hashlib.sha256(random_inception.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "SHA256", digest[:8] + 56 * "0")
    with pytest.raises(GanvasError, match="the published weights have"):
        open_extractor(random_inception, device="cpu")  # another file of the same eight digits can be made
    monkeypatch.setattr(inception, "SHA256", digest)
    ours = open_extractor(random_inception, device="cpu")
    small = photo[:, :, :32, :32]  # enlarged, where the sampling of TensorFlow 1 differs most
    for images in (photo, small):
        features, logits = theirs(images)
        found = ours(images)
        scale = float(features.abs().mean())
        assert scale > 1e-3
        torch.testing.assert_close(found.features, features, rtol=1e-3, atol=1e-4 * scale)
        torch.testing.assert_close(found.logits, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().mean()))
    assert ours.id == f"inception-2015-{digest[:8]}"
    assert ours.resize == "tf1 to 299 px"


def test_the_three_resizings_differ_and_each_is_what_it_says(photo: torch.Tensor) -> None:
    small = photo[:1, :, :32, :32]
    found = {how: inception.to_input(small, how) for how in ("tf1", "clean", "pytorch")}  # type: ignore[arg-type]
    assert all(x.shape == (1, 3, 299, 299) for x in found.values())
    assert (found["tf1"] - found["pytorch"]).abs().mean() > 0.01
    assert (found["clean"] - found["pytorch"]).abs().mean() > 0.001
    # TensorFlow 1 reads pixel i * 32 / 299: the first output is the first pixel, and a ramp stays a ramp.
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    expected = (torch.arange(299) * 32 / 299).clamp_max(31)
    torch.testing.assert_close(inception.resize_tf1(ramp, 299)[0, 0, 0], expected, rtol=0, atol=1e-4)


def test_clean_resizing_is_that_of_clean_fid() -> None:
    """Noise overshoots at every edge: without the cut at 0 and 255 single pixels differ by 70 grey levels."""
    noise = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    theirs = peers.clean_fid_resizer()
    for image, ours in zip(noise, inception.resize_pil(noise, 299), strict=True):
        np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), theirs(image.permute(1, 2, 0).numpy()))
    assert (inception.to_input(noise, "clean").amin(), inception.to_input(noise, "clean").amax()) == (
        -1,
        127 / 128,
    )


def test_other_weights_are_no_fid(
    random_inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GanvasError, match="no FID"):
        open_extractor(random_inception, device="cpu")
    monkeypatch.setenv("GANVAS_INCEPTION", str(tmp_path / "missing.pth"))
    with pytest.raises(GanvasError, match="No Inception weights"):
        open_extractor("inception-2015", device="cpu")
    monkeypatch.delenv("GANVAS_INCEPTION")
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.setattr(inception, "URL", (tmp_path / "nowhere").as_uri())
    with pytest.raises(GanvasError, match="set GANVAS_INCEPTION"):
        open_extractor("inception-2015", device="cpu")
    truncated = tmp_path / "truncated"
    truncated.write_bytes(random_inception.read_bytes()[:1000])
    monkeypatch.setattr(inception, "URL", truncated.as_uri())
    with pytest.raises(GanvasError, match="truncated"):
        open_extractor("inception-2015", device="cpu")
    assert not (tmp_path / inception.FILE).exists(), "a bad download is not kept"


@pytest.mark.weights
def test_inception_end_to_end(photo: torch.Tensor) -> None:
    """With the real weights: a daisy-like flower has many confident logits; run where GANVAS_INCEPTION is set."""
    found = open_extractor("inception-2015", device="cpu")(photo)
    assert found.features.shape == (2, 2048)
    assert 0.2 < float(found.features.mean()) < 0.8


def test_dinov2_attention_written_out() -> None:
    """One block of the network against the formula of a pre-norm transformer with layer scale."""
    torch.manual_seed(0)
    network = Dinov2(128, 1, 4).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    images = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        found = network(images)
        block = network.blocks[0]
        tokens = torch.stack(
            [network.patch_embed["proj"](images)[:, :, i // 2, i % 2] for i in range(4)], 1  # type: ignore[operator,union-attr]
        )  # fmt: skip
        x = torch.cat([network.cls_token.expand(2, -1, -1), tokens], 1) + network.pos_embed
        y = F.layer_norm(x, (128,), block.norm1.weight, block.norm1.bias, 1e-6)  # type: ignore[union-attr]
        q, k, v = (y @ block.attn.qkv.weight.T + block.attn.qkv.bias).split(128, 2)  # type: ignore[union-attr]
        heads = []
        for h in range(2):
            part = slice(64 * h, 64 * h + 64)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) / 8).softmax(-1)
            heads.append(weights @ v[..., part])
        mixed = torch.cat(heads, 2) @ block.attn.proj.weight.T + block.attn.proj.bias  # type: ignore[union-attr]
        x = x + block.ls1.gamma * mixed  # type: ignore[union-attr]
        y = F.layer_norm(x, (128,), block.norm2.weight, block.norm2.bias, 1e-6)  # type: ignore[union-attr]
        wide = y @ block.mlp.fc1.weight.T + block.mlp.fc1.bias  # type: ignore[union-attr]
        wide = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))
        x = x + block.ls2.gamma * (wide @ block.mlp.fc2.weight.T + block.mlp.fc2.bias)  # type: ignore[union-attr]
        expected = F.layer_norm(x, (128,), network.norm.weight, network.norm.bias, 1e-6)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_dinov2_reads_its_size_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: torch.Tensor
) -> None:
    torch.manual_seed(0)
    torch.save(Dinov2(384, 2, 37 * 37).state_dict(), tmp_path / "w.pth")
    monkeypatch.setenv("GANVAS_DINOV2", str(tmp_path / "w.pth"))
    extractor = open_extractor("dinov2", device="cpu")
    assert (
        extractor.id == f"dinov2-vit-s14-{hashlib.sha256((tmp_path / 'w.pth').read_bytes()).hexdigest()[:16]}"
    )
    assert extractor(photo).features.shape == (2, 384), "positions of 518 px are interpolated to 224 px"
    monkeypatch.setenv("GANVAS_DINOV2", str(tmp_path / "none.pth"))
    with pytest.raises(GanvasError, match="GANVAS_DINOV2"):
        open_extractor("dinov2", device="cpu")
    with pytest.raises(GanvasError, match="no DINOv2"):
        build({"pos_embed": torch.zeros(1, 5, 8)})


@pytest.mark.parametrize(
    "content", [[1, 2], {"pos_embed": 5}, {"pos_embed": torch.zeros(1, 5, 8), "blocks.9999999999.x": 1}]
)
def test_dinov2_of_another_file(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read without running anything, and a number in a name builds nothing."""
    torch.save(content, tmp_path / "w.pth")
    monkeypatch.setenv("GANVAS_DINOV2", str(tmp_path / "w.pth"))
    with pytest.raises(GanvasError, match=r"no DINOv2|holds no tensor"):
        open_extractor("dinov2", device="cpu")
    (tmp_path / "w.pth").write_text("# Read me\n")
    with pytest.raises(GanvasError, match=r"w\.pth"):
        open_extractor("dinov2", device="cpu")
