"""Autoencoders of other toolkits: random weights against forward passes that are written out here, tensor by tensor."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import ganvas
from ganvas import io
from ganvas.autoencoders import open_autoencoder
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent.prior import fit_prior
from ganvas.types import Guarantee

RANDOM = torch.Generator().manual_seed(0)
Tensors = dict[str, Tensor]


def conv(outputs: int, inputs: int, size: int, name: str, bias: bool = True) -> Tensors:
    weight = torch.randn(outputs, inputs, size, size, generator=RANDOM) / (inputs * size * size) ** 0.5
    return {f"{name}.weight": weight} | (
        {f"{name}.bias": torch.randn(outputs, generator=RANDOM) / 8} if bias else {}
    )


def norm(width: int, name: str) -> Tensors:
    return {
        f"{name}.weight": 1 + torch.randn(width, generator=RANDOM) / 4,
        f"{name}.bias": torch.randn(width, generator=RANDOM) / 4,
    }


def block(inputs: int, outputs: int, name: str) -> Tensors:
    found = (
        norm(inputs, f"{name}.norm1")
        | conv(outputs, inputs, 3, f"{name}.conv1")
        | norm(outputs, f"{name}.norm2")
    )
    found |= conv(outputs, outputs, 3, f"{name}.conv2")
    return found | (conv(outputs, inputs, 1, f"{name}.conv_shortcut") if inputs != outputs else {})


def middle(width: int, name: str) -> Tensors:
    found = block(width, width, f"{name}.resnets.0") | block(width, width, f"{name}.resnets.1")
    found |= norm(width, f"{name}.attentions.0.group_norm")
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        linear = conv(width, width, 1, f"{name}.attentions.0.{part}")
        found |= {key: each[:, :, 0, 0] if each.dim() == 4 else each for key, each in linear.items()}
    return found


def kl() -> Tensors:
    """Widths 32 and 64, one block a stage in the encoder, two in the decoder, four maps."""
    e, d = "encoder", "decoder"
    found = conv(32, 3, 3, f"{e}.conv_in") | block(32, 32, f"{e}.down_blocks.0.resnets.0")
    found |= conv(32, 32, 3, f"{e}.down_blocks.0.downsamplers.0.conv") | block(
        32, 64, f"{e}.down_blocks.1.resnets.0"
    )
    found |= middle(64, f"{e}.mid_block") | norm(64, f"{e}.conv_norm_out") | conv(8, 64, 3, f"{e}.conv_out")
    found |= conv(8, 8, 1, "quant_conv") | conv(4, 4, 1, "post_quant_conv") | conv(64, 4, 3, f"{d}.conv_in")
    found |= middle(64, f"{d}.mid_block")
    for i in range(2):
        found |= block(64, 64, f"{d}.up_blocks.0.resnets.{i}") | block(
            64 if i == 0 else 32, 32, f"{d}.up_blocks.1.resnets.{i}"
        )
    found |= conv(64, 64, 3, f"{d}.up_blocks.0.upsamplers.0.conv")
    return found | norm(32, f"{d}.conv_norm_out") | conv(3, 32, 3, f"{d}.conv_out")


class Written:
    """The forward pass of AutoencoderKL by the names of its tensors."""

    def __init__(self, tensors: Tensors) -> None:
        self.t = tensors

    def conv(self, x: Tensor, name: str, **how: Any) -> Tensor:
        return F.conv2d(x, self.t[f"{name}.weight"], self.t.get(f"{name}.bias"), **how)

    def norm(self, x: Tensor, name: str) -> Tensor:
        """In 32 groups of neighbouring channels."""
        groups = x.unflatten(1, (32, -1))
        mean, var = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), keepdim=True, correction=0)
        whole = ((groups - mean) / (var + 1e-6).sqrt()).flatten(1, 2)
        return whole * self.t[f"{name}.weight"][:, None, None] + self.t[f"{name}.bias"][:, None, None]

    def block(self, x: Tensor, name: str) -> Tensor:
        def silu(y: Tensor) -> Tensor:
            return y * y.sigmoid()

        hidden = self.conv(silu(self.norm(x, f"{name}.norm1")), f"{name}.conv1", padding=1)
        hidden = self.conv(silu(self.norm(hidden, f"{name}.norm2")), f"{name}.conv2", padding=1)
        return hidden + (
            self.conv(x, f"{name}.conv_shortcut") if f"{name}.conv_shortcut.weight" in self.t else x
        )

    def middle(self, x: Tensor, name: str) -> Tensor:
        x, at = self.block(x, f"{name}.resnets.0"), f"{name}.attentions.0"
        rows = self.norm(x, f"{at}.group_norm").flatten(2).mT
        q, k, v = (
            rows @ self.t[f"{at}.{p}.weight"].T + self.t[f"{at}.{p}.bias"] for p in ("to_q", "to_k", "to_v")
        )
        seen = (q @ k.mT / q.shape[2] ** 0.5).softmax(2) @ v
        seen = seen @ self.t[f"{at}.to_out.0.weight"].T + self.t[f"{at}.to_out.0.bias"]
        return self.block(x + seen.mT.reshape(x.shape), f"{name}.resnets.1")

    def encode(self, x: Tensor) -> Tensor:
        x = self.block(self.conv(x, "encoder.conv_in", padding=1), "encoder.down_blocks.0.resnets.0")
        x = F.pad(x, (0, 1, 0, 1))  # a line below and a column to the right
        x = self.conv(x, "encoder.down_blocks.0.downsamplers.0.conv", stride=2)
        x = self.middle(self.block(x, "encoder.down_blocks.1.resnets.0"), "encoder.mid_block")
        x = self.norm(x, "encoder.conv_norm_out")
        return self.conv(self.conv(x * x.sigmoid(), "encoder.conv_out", padding=1), "quant_conv")[:, :4]

    def decode(self, z: Tensor) -> Tensor:
        x = self.middle(
            self.conv(self.conv(z, "post_quant_conv"), "decoder.conv_in", padding=1), "decoder.mid_block"
        )
        for i in range(2):
            x = self.block(x, f"decoder.up_blocks.0.resnets.{i}")
        x = self.conv(
            x.repeat_interleave(2, 2).repeat_interleave(2, 3),
            "decoder.up_blocks.0.upsamplers.0.conv",
            padding=1,
        )
        for i in range(2):
            x = self.block(x, f"decoder.up_blocks.1.resnets.{i}")
        x = self.norm(x, "decoder.conv_norm_out")
        return self.conv(x * x.sigmoid(), "decoder.conv_out", padding=1)


TENSORS = kl()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "diffusion_pytorch_model.safetensors")
    io.write_json(tmp_path / "config.json", {"scaling_factor": 0.25})
    return tmp_path


def test_autoencoder_kl_is_the_written_out_pass(folder: Path) -> None:
    model, written = open_autoencoder(folder, side=16, device="cpu"), Written(TENSORS)
    assert (model.shape, model.latent_dim) == ((3, 16, 16), 4 * 8 * 8)
    x, z = 2 * torch.rand(2, 3, 16, 16, generator=RANDOM) - 1, torch.randn(2, 256, generator=RANDOM)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x), 0.25 * written.encode(x).flatten(1), atol=1e-4, rtol=1e-4)
        drawn = written.decode(z.reshape(2, 4, 8, 8) / 0.25)
        torch.testing.assert_close(model.generator(z), drawn, atol=1e-4, rtol=1e-4)


def test_old_names_and_half_precision_are_the_same_network(folder: Path, tmp_path: Path) -> None:
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    old = {}
    for name, tensor in TENSORS.items():
        for now, before in names.items():
            name = name.replace(now, before)
        old[name] = tensor.half()
    save_file(old, tmp_path / "vae.safetensors")
    (tmp_path / "config.json").unlink()
    model, z = open_autoencoder(tmp_path / "vae.safetensors", side=16, device="cpu"), torch.randn(1, 256)
    drawn = Written({name: each.half().float() for name, each in TENSORS.items()}).decode(
        z.reshape(1, 4, 8, 8) / 0.18215
    )
    torch.testing.assert_close(model.generator(z), drawn, atol=1e-3, rtol=1e-3)


def tiny() -> Tensors:
    """TAESD of width 8: names of diffusers."""
    found = conv(8, 3, 3, "encoder.layers.0") | conv(8, 4, 3, "decoder.layers.0")
    for part, blocks, strided, last in (
        ("encoder", (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), (2, 6, 10), (14, 4)),
        ("decoder", (2, 3, 4, 7, 8, 9, 12, 13, 14, 17), (6, 11, 16), (18, 3)),
    ):
        for i in blocks:
            for j in (0, 2, 4):
                found |= conv(8, 8, 3, f"{part}.layers.{i}.conv.{j}")
        for i in strided:
            found |= conv(8, 8, 3, f"{part}.layers.{i}", bias=False)
        found |= conv(last[1], 8, 3, f"{part}.layers.{last[0]}")
    return found


def tiny_pass(t: Tensors, x: Tensor, part: str) -> Tensor:
    """From 0 to 1, as published."""

    def layer(y: Tensor, name: str, stride: int = 1) -> Tensor:
        return F.conv2d(y, t[f"{name}.weight"], t.get(f"{name}.bias"), stride=stride, padding=1)

    x = layer(3 * (x / 3).tanh() if part == "decoder" else x, f"{part}.layers.0")
    x = x.relu() if part == "decoder" else x
    for i in range(1, 18 if part == "decoder" else 14):
        name = f"{part}.layers.{i}"
        if f"{name}.conv.0.weight" in t:
            hidden = layer(
                layer(layer(x, f"{name}.conv.0").relu(), f"{name}.conv.2").relu(), f"{name}.conv.4"
            )
            x = (hidden + x).relu()
        elif f"{name}.weight" in t:
            up = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if part == "decoder" else x
            x = layer(up, name, 1 if part == "decoder" else 2)
    return layer(x, f"{part}.layers.{18 if part == 'decoder' else 14}")


@pytest.mark.parametrize("raw", [False, True])
def test_the_tiny_one_is_the_written_out_pass(tmp_path: Path, raw: bool) -> None:
    """In one file with the names of diffusers, and in the two files of its author, whose decoder begins with a squashing."""
    tensors = tiny()
    if raw:
        for part, shift in (("encoder", 0), ("decoder", 1)):
            renamed = {}
            for name, each in tensors.items():
                if name.startswith(part):
                    number, rest = name.split(".", 3)[2:]
                    renamed[f"{int(number) + shift}.{rest}"] = each
            save_file(renamed, tmp_path / f"taesd_{part}.safetensors")
        model = open_autoencoder(tmp_path, side=16, device="cpu")
        (half := tmp_path / "half").mkdir()
        save_file(renamed, half / "taesd_decoder.safetensors")
        with pytest.raises(
            GanvasError, match=r"half holds one half of TAESD; put taesd_encoder\.safetensors and"
        ):
            open_autoencoder(half / "taesd_decoder.safetensors", side=16)
    else:
        save_file(tensors, tmp_path / "tiny.safetensors")
        model = open_autoencoder(tmp_path / "tiny.safetensors", side=16, device="cpu")
    x, z = torch.rand(2, 3, 16, 16, generator=RANDOM), 3 * torch.randn(2, 16, generator=RANDOM)
    expected = tiny_pass(tensors, x, "encoder").flatten(1)
    torch.testing.assert_close(model.encode(2 * x - 1), expected, atol=1e-5, rtol=1e-4)
    drawn = 2 * tiny_pass(tensors, z.reshape(2, 4, 2, 2), "decoder") - 1
    torch.testing.assert_close(model.generator(z), drawn, atol=1e-5, rtol=1e-4)


def test_commands_take_a_file_of_another_toolkit(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they write is what the written-out pass gives; what cannot be done with it is said before any work."""
    monkeypatch.chdir(folder)
    pictures = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=RANDOM)
    np.save("pictures.npy", pictures.numpy())
    given = [str(folder), "pictures.npy", "--device", "cpu", "--quiet"]
    assert main(["encode", *given, "--side", "16"]) == 0
    expected = 0.25 * Written(TENSORS).encode(pictures.permute(0, 3, 1, 2) / 127.5 - 1).flatten(1)
    with np.load("z.npz") as found:
        torch.testing.assert_close(torch.from_numpy(found["z"]), expected, atol=1e-4, rtol=1e-4)
    assert main(["reconstruct", *given, "--side", "16", "--extractor", "none", "--plain"]) == 0
    with Image.open("reconstructed.png") as sheet:
        assert sheet.width >= 3 * 16
    capsys.readouterr()
    file = "diffusion_pytorch_model.safetensors"
    for words, said in (
        (
            ["encode", *given, "--fit", "2"],
            "--fit writes a model, and of another toolkit's AutoencoderKL none",
        ),
        (["encode", *given, "--side", "15"], "multiples of 2"),
        (["encode", "fashion", *given[1:], "--side", "16"], "--side is for autoencoders of other toolkits"),
        (["import", file, "--out", "a.safetensors"], "ganvas encode and ganvas reconstruct take such a file"),
        (
            ["import", str(folder), "--out", "a.safetensors"],
            "ganvas encode and ganvas reconstruct take such a file",
        ),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err


def test_it_is_a_model_like_any_other(folder: Path) -> None:
    model = open_autoencoder(folder, side=8, device="cpu")
    images = torch.randint(0, 256, (80, 3, 8, 8), dtype=torch.uint8, generator=RANDOM)
    model.info = replace(model.info, privacy=Guarantee(1.0, 1e-5))
    fitted = fit_prior(model, images, 1)
    assert fitted.info.privacy is None, "nothing bounds what the mixture knows of the images"
    assert fitted.sample(2).shape == model.reconstruct(images[:2]).shape == (2, 3, 8, 8)
    found = ganvas.invert(fitted, images[:1], method="hybrid", steps=2)
    assert torch.isfinite(found.residual).all()
    assert "with its encoder, AutoencoderKL" in repr(model)


@pytest.mark.parametrize(
    ("change", "side", "said"),
    [
        ({}, 15, "multiples of 2 up to 1024"),
        ({"decoder.conv_out.bias": None}, 16, "tensor 'decoder.conv_out.bias' is missing, expected"),
        ({"encoder.conv_in.weight": None}, 16, "is no autoencoder in the layout of AutoencoderKL"),
        ({"more.weight": torch.zeros(2)}, 16, "tensor 'more.weight' is"),
        ({"encoder.down.0.block.0.norm1.weight": torch.zeros(2)}, 16, "AutoencoderKL.from_single_file"),
        (
            {"encoder.down_blocks.0.resnets.0.conv1.weight": torch.zeros(3, 32, 3, 3)},
            16,
            "must be multiples of 32",
        ),
        ({"quant_conv.weight": torch.full((8, 8, 1, 1), torch.nan)}, 16, "NaN or infinite weights"),
    ],
)
def test_what_cannot_be_opened_is_named(
    tmp_path: Path, change: dict[str, Tensor | None], side: int, said: str
) -> None:
    changed = {name: each for name, each in {**TENSORS, **change}.items() if each is not None}
    save_file(changed, tmp_path / "a.safetensors")
    with pytest.raises(GanvasError, match=said):
        open_autoencoder(tmp_path / "a.safetensors", side=side, device="cpu")
