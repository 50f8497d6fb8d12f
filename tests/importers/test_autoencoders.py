"""Autoencoders of other toolkits: random weights against forward passes that are written out here, tensor by tensor."""

import copy
import itertools
import json
import os
import random
import shutil
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
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.importers import recognise
from ganvas.latent.prior import fit_prior
from ganvas.networks.coded import Coded
from ganvas.types import Guarantee
from ganvas.web.opening import open_renderer
from ganvas.web.state import State
from tests.importers.opened import generator_of
from tests.importers.test_mutations import mutate

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
    model, written = ganvas.load(folder, side=16, device="cpu"), Written(TENSORS)
    assert (model.shape, model.latent_dim) == ((3, 16, 16), 4 * 8 * 8)
    x, z = 2 * torch.rand(2, 3, 16, 16, generator=RANDOM) - 1, torch.randn(2, 256, generator=RANDOM)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x), 0.25 * written.encode(x).flatten(1), atol=1e-4, rtol=1e-4)
        drawn = written.decode(z.reshape(2, 4, 8, 8) / 0.25)
        torch.testing.assert_close(model.generator(z), drawn, atol=1e-4, rtol=1e-4)


def test_older_folders_of_diffusers_hold_pickles(folder: Path) -> None:
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(TENSORS, folder / "diffusion_pytorch_model.bin")
    assert ganvas.load(folder, side=16, device="cpu").info.source == "AutoencoderKL"


def test_a_tiny_one_that_doubles_its_maps_otherwise_is_refused(tmp_path: Path) -> None:
    io.write_json(tmp_path / "config.json", {"upsample_fn": "bilinear"})
    with pytest.raises(GanvasError, match="upsample_fn is bilinear"):
        recognise({"encoder.layers.0.weight": torch.zeros(1)}, tmp_path / "model.pt")


def test_what_a_config_says_of_codes_is_done(folder: Path) -> None:
    """A shift of theirs was left out without a word."""
    io.write_json(folder / "config.json", {"scaling_factor": 0.25, "shift_factor": 0.5, "act_fn": "silu"})
    model, written = ganvas.load(folder, side=16, device="cpu"), Written(TENSORS)
    x, z = 2 * torch.rand(2, 3, 16, 16, generator=RANDOM) - 1, torch.randn(2, 256, generator=RANDOM)
    with torch.no_grad():
        codes = 0.25 * (written.encode(x).flatten(1) - 0.5)
        torch.testing.assert_close(model.encode(x), codes, atol=1e-4, rtol=1e-4)
        drawn = written.decode(z.reshape(2, 4, 8, 8) / 0.25 + 0.5)
        torch.testing.assert_close(model.generator(z), drawn, atol=1e-4, rtol=1e-4)
    assert any("less 0.5 and times 0.25" in note for note in model.info.notes)


@pytest.mark.parametrize(
    "said",
    [
        {"act_fn": "relu"}, {"norm_num_groups": 16}, {"scaling_factor": 1e-300}, {"scaling_factor": "1"},
        {"shift_factor": 1e9}, {"shift_factor": [0.1]}, {"latents_mean": [0.1] * 4}, {"latents_std": [5.0] * 4},
    ],
)  # fmt: skip
def test_a_config_of_another_network_is_refused(folder: Path, said: dict[str, Any]) -> None:
    """It was read as if it did not say so, and reconstructed other pictures than its own toolkit would."""
    io.write_json(folder / "config.json", said)
    with pytest.raises(GanvasError, match=f"config.json: {next(iter(said))} is"):
        ganvas.load(folder, side=16, device="cpu")


def test_old_names_and_half_precision_are_the_same_network(folder: Path, tmp_path: Path) -> None:
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    old = {}
    for name, tensor in TENSORS.items():
        for now, before in names.items():
            name = name.replace(now, before)
        old[name] = tensor.half()
    save_file(old, tmp_path / "vae.safetensors")
    (tmp_path / "config.json").unlink()
    model, z = ganvas.load(tmp_path / "vae.safetensors", side=16, device="cpu"), torch.randn(1, 256)
    drawn = Written({name: each.half().float() for name, each in TENSORS.items()}).decode(
        z.reshape(1, 4, 8, 8) / 0.18215
    )
    torch.testing.assert_close(model.generator(z), drawn, atol=1e-3, rtol=1e-3)


COMPVIS = {
    ".mid_block.resnets.0.": ".mid.block_1.", ".mid_block.resnets.1.": ".mid.block_2.",
    ".mid_block.attentions.0.group_norm.": ".mid.attn_1.norm.", ".mid_block.attentions.0.to_q.": ".mid.attn_1.q.",
    ".mid_block.attentions.0.to_k.": ".mid.attn_1.k.", ".mid_block.attentions.0.to_v.": ".mid.attn_1.v.",
    ".mid_block.attentions.0.to_out.0.": ".mid.attn_1.proj_out.", ".down_blocks.0.resnets.0.": ".down.0.block.0.",
    ".down_blocks.1.resnets.0.": ".down.1.block.0.", ".down_blocks.0.downsamplers.0.": ".down.0.downsample.",
    ".up_blocks.0.resnets.0.": ".up.1.block.0.", ".up_blocks.0.resnets.1.": ".up.1.block.1.",
    ".up_blocks.1.resnets.0.": ".up.0.block.0.", ".up_blocks.1.resnets.1.": ".up.0.block.1.",
    ".up_blocks.0.upsamplers.0.": ".up.1.upsample.", ".conv_shortcut.": ".nin_shortcut.", ".conv_norm_out.": ".norm_out.",
}  # fmt: skip
"""Names of diffusers -> those of CompVis' code, where the first of the decoder's two stages is number 1."""


@pytest.mark.parametrize("whole", [False, True])
def test_the_names_of_compvis_are_the_same_network(folder: Path, whole: bool) -> None:
    """Alone with its critic beside it, and within a file of all of Stable Diffusion."""
    theirs = {}
    for name, tensor in TENSORS.items():
        for now, before in COMPVIS.items():
            name = name.replace(now, before)
        square = ".attn_1." in name and tensor.dim() == 2
        theirs[("first_stage_model." if whole else "") + name] = (
            tensor[:, :, None, None].clone() if square else tensor
        )
    theirs["model.diffusion_model.out.weight" if whole else "loss.logvar"] = torch.zeros(3)
    save_file(theirs, folder / "vae.safetensors")
    ours, found = (ganvas.load(each, side=8, device="cpu") for each in (folder, folder / "vae.safetensors"))
    assert found.hash == ours.hash
    x = 2 * torch.rand(2, 3, 8, 8, generator=RANDOM) - 1
    assert torch.equal(found.encode(x), ours.encode(x))


def tiny(width: int = 8) -> Tensors:
    """TAESD: names of diffusers."""
    found = conv(width, 3, 3, "encoder.layers.0") | conv(width, 4, 3, "decoder.layers.0")
    for part, blocks, strided, last in (
        ("encoder", (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), (2, 6, 10), (14, 4)),
        ("decoder", (2, 3, 4, 7, 8, 9, 12, 13, 14, 17), (6, 11, 16), (18, 3)),
    ):
        for i in blocks:
            for j in (0, 2, 4):
                found |= conv(width, width, 3, f"{part}.layers.{i}.conv.{j}")
        for i in strided:
            found |= conv(width, width, 3, f"{part}.layers.{i}", bias=False)
        found |= conv(last[1], width, 3, f"{part}.layers.{last[0]}")
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


def write_halves(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """The two files of its author, whose decoder begins with a squashing."""
    for part, shift in (("encoder", 0), ("decoder", 1)):
        renamed = {}
        for name, each in tensors.items():
            if name.startswith(part):
                number, rest = name.split(".", 3)[2:]
                renamed[f"{int(number) + shift}.{rest}"] = each
        save_file(renamed, folder / f"taesd_{part}.safetensors")


@pytest.mark.parametrize("raw", [False, True])
def test_the_tiny_one_is_the_written_out_pass(tmp_path: Path, raw: bool) -> None:
    """In one file with the names of diffusers, and in the two files of its author."""
    tensors = tiny()
    if raw:
        write_halves(tmp_path, tensors)
        model = ganvas.load(tmp_path, side=16, device="cpu")
        (half := tmp_path / "half").mkdir()
        shutil.copy(tmp_path / "taesd_decoder.safetensors", half)
        with pytest.raises(
            GanvasError, match=r"half holds one half of TAESD; put taesd_decoder\.safetensors and"
        ):
            ganvas.load(half / "taesd_decoder.safetensors", side=16)
    else:
        save_file(tensors, tmp_path / "tiny.safetensors")
        model = ganvas.load(tmp_path / "tiny.safetensors", side=16, device="cpu")
    x, z = torch.rand(2, 3, 16, 16, generator=RANDOM), 3 * torch.randn(2, 16, generator=RANDOM)
    expected = tiny_pass(tensors, x, "encoder").flatten(1)
    torch.testing.assert_close(model.encode(2 * x - 1), expected, atol=1e-5, rtol=1e-4)
    drawn = 2 * tiny_pass(tensors, z.reshape(2, 4, 2, 2), "decoder") - 1
    torch.testing.assert_close(model.generator(z), drawn, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["config.json", "taesd_encoder.safetensors", "taesd_decoder.safetensors"])
def test_nothing_beside_a_file_is_opened_through_a_link_that_leads_out(tmp_path: Path, name: str) -> None:
    """An encoder elsewhere on this machine stood in what was written, and would have gone out with it."""
    mine, theirs, blobs = tmp_path / "mine", tmp_path / "theirs", tmp_path / "hub" / "blobs"
    for folder in (mine, theirs, blobs):
        folder.mkdir(parents=True)
        write_halves(folder, tiny())
        io.write_json(folder / "config.json", {})
    torch.save(tiny(), theirs / "whole.pkl")  # read by its content, and so is what lies beside it
    (theirs / name).unlink()
    (theirs / name).symlink_to(mine / name)
    for opened in (theirs, *([theirs / "whole.pkl"] if name == "config.json" else [])):
        with pytest.raises(GanvasError, match=rf"{name} lies behind a link that leads out of its folder"):
            ganvas.load(opened, side=16, device="cpu")
    # As the hub's cache has them.
    snapshot = tmp_path / "hub" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    for each in blobs.iterdir():
        (snapshot / each.name).symlink_to(f"../../blobs/{each.name}")
    assert ganvas.load(snapshot, side=16, device="cpu").encoder is not None


def test_files_that_are_replaced_while_they_are_read_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a model of before, half of now: only the file that was named was looked at."""
    write_halves(tmp_path, tiny())
    load = io.load_foreign

    def replacing(path: Path) -> dict[str, torch.Tensor]:
        os.utime(tmp_path / "taesd_encoder.safetensors", (1, 1))
        return load(path)

    monkeypatch.setattr(io, "load_foreign", replacing)
    with pytest.raises(GanvasError, match=r"taesd_encoder\.safetensors was changed while it was read"):
        ganvas.load(tmp_path, side=16, device="cpu")


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
    for words, said in (
        (["encode", *given, "--side", "15"], "multiples of 2"),
        (["encode", *given, "--side", "1024"], "side of 1024 px (--side) makes codes of 1,048,576 numbers"),
        (
            ["encode", "fashion", *given[1:], "--side", "16"],
            "A side is for autoencoders of other toolkits; fashion has",
        ),
        (["encode", *given, "--fit", "0"], "0 components draw no picture"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err


def test_imported_it_opens_alone_and_is_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "alone" / "vae.safetensors"
    out.parent.mkdir()
    assert main(["import", str(folder), "--side", "16", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "AutoencoderKL: 16 x 16 px, z of 256" in said
    assert "- its encoder came along" in said
    assert "critic" not in said
    assert f"ganvas encode {out} IMAGES --fit 1 --out" in said
    theirs, ours = ganvas.load(folder, side=16, device="cpu"), ganvas.load(out, device="cpu")
    x, z = 2 * torch.rand(2, 3, 16, 16, generator=RANDOM) - 1, torch.randn(2, 256, generator=RANDOM)
    assert torch.equal(ours.generator(z), theirs.generator(z))
    assert torch.equal(ours.encode(x), theirs.encode(x))
    assert (ours.hash, ours.info.source, ours.info.notes) == (theirs.hash, "AutoencoderKL", theirs.info.notes)


def test_of_noise_it_draws_nothing_and_of_what_pictures_say_it_does(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that would draw says what to type; typed, there is a model that all of them take."""
    monkeypatch.chdir(folder)
    for words in (
        ["sample", str(folder)], ["explore", str(folder), "--no-browser"], ["walk", str(folder)]
    ):  # fmt: skip
        assert main([*words, "--device", "cpu"]) == 2, words
        assert "ganvas encode MODEL IMAGES --fit 1 --out fitted.npz" in capsys.readouterr().err
    assert main(["info", str(folder)]) == 0
    assert "unknown" in capsys.readouterr().out
    ganvas.load(folder, side=16)._repr_html_()
    large = ganvas.load(folder, side=128, device="cpu")
    assert large.encoded_at_once <= 2**24 // (64 * 128 * 128), "as many as its largest layer has room for"
    pictures = torch.randint(0, 256, (300, 8, 8, 3), dtype=torch.uint8, generator=RANDOM)
    np.save("pictures.npy", pictures.numpy())
    line = [
        "encode",
        str(folder),
        "pictures.npy",
        "--side",
        "8",
        "--fit",
        "1",
        "--out",
        "fitted.npz",
        "--json",
    ]
    assert main([*line, "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["typicality"] is None
    kept = Path("fitted.npz").read_bytes()
    np.save("few.npy", pictures.numpy()[:5])
    few = ["few.npy" if each == "pictures.npy" else "8" if each == "1" else each for each in line]
    assert main([*few, "--device", "cpu"]) == 2
    assert "more than 8 codes" in capsys.readouterr().err
    assert Path("fitted.npz").read_bytes() == kept, "nothing is written before all of it is there"
    with np.load("fitted.npz") as found:
        codes = torch.from_numpy(found["codes"])
        assert "typicality" not in found
    assert main(["sample", "fitted.safetensors", "--n", "16", "--out", "drawn.npy", "--device", "cpu"]) == 0
    model = ganvas.load("fitted.safetensors", device="cpu")
    # What is drawn: the decoder's pictures of normal codes with the mean and the covariance of those of the pictures.
    z = model.latents(16)
    covariance = np.cov(codes.double().numpy().T, bias=True)
    covariance += 1e-5 * codes.double().var(0).mean().item() * np.eye(len(covariance))
    drawn = codes.mean(0) + (z.double() @ torch.from_numpy(np.linalg.cholesky(covariance)).T).float()
    expected = Written(TENSORS).decode(drawn.reshape(-1, 4, 4, 4) / 0.25)
    pixels = torch.from_numpy(np.load("drawn.npy"))
    assert (pixels.float() - model.to_data(expected).float()).abs().max() <= 1
    renderer = open_renderer("fitted.safetensors", "pictures.npy", "cpu")
    assert (renderer.draw([State(number=1)])[0].int() - model.sample(16)[1].int()).abs().max() <= 1
    # A page begins at a picture of --data, as the autoencoder gives it back.
    assert renderer.real is not None
    again = Written(TENSORS).encode(renderer.real.images[:1] / 127.5 - 1)
    seen = model.to_data(Written(TENSORS).decode(again))[0]
    assert (renderer.draw([renderer.start])[0].int() - seen.int()).abs().max() <= 1


def test_a_gan_in_its_latent_space_draws_through_it(folder: Path) -> None:
    ganvas.load(folder, side=8, device="cpu").save(folder / "own.safetensors")
    pictures = torch.randint(0, 256, (80, 8, 8, 3), dtype=torch.uint8, generator=RANDOM)
    np.save(folder / "pictures.npy", pictures.numpy())
    found = ganvas.train(
        str(folder / "pictures.npy"), in_latent=str(folder / "own.safetensors"), kimg=0.03, batch=16, device="cpu", quiet=True,
        report=False, out=folder, settings={"training.precision": "fp32"},
    )  # fmt: skip
    model = ganvas.load(found.run.path, device="cpu")
    assert isinstance(model.generator, Coded)
    z = model.latents(2)
    written = Written(TENSORS).decode(model.generator.codes(z).reshape(2, 4, 4, 4) / 0.25)
    torch.testing.assert_close(model.generator(z), written, atol=1e-3, rtol=1e-3)


def test_no_file_is_written_that_would_not_open(tmp_path: Path) -> None:
    """Whoever encodes large pictures may; a file that says so would be refused, as files are bounded by what they hold."""
    save_file(tiny(16), tmp_path / "tiny.safetensors")
    model = ganvas.load(tmp_path / "tiny.safetensors", side=1024, device="cpu")
    with pytest.raises(
        GanvasError,
        match=r"own\.safetensors would not open again, draw pictures of another size \(--side\): it takes",
    ):
        model.save(tmp_path / "own.safetensors")
    assert not (tmp_path / "own.safetensors").exists()
    ganvas.load(tmp_path / "tiny.safetensors", side=64, device="cpu").save(tmp_path / "own.safetensors")
    ganvas.load(tmp_path / "own.safetensors", device="cpu")


def test_no_file_is_written_whose_encoder_sees_too_little(folder: Path) -> None:
    """Of 2 px it halves to one, of which a norm of as many groups as channels is none; its decoder draws them."""
    with pytest.raises(GanvasError, match="would not open again, draw pictures of another size"):
        ganvas.load(folder, side=2, device="cpu").save(folder / "own.safetensors")
    assert not (folder / "own.safetensors").exists()


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"shape": [3, 1024, 1024]}, "codes of this autoencoder are"),
    ({"shape": [3, 1024, 1024], "latent_dim": 4 * 512 * 512}, "may say 65,536 at most"),
    ({"shape": [3, 256, 256], "latent_dim": 4 * 128 * 128}, "numbers at a time for one sample"),
    ({"widths": [32] * 2000}, "may say|takes multiples of"),
    ({"widths": [65536, 65536]}, "expected"),
    ({"widths": []}, "multiples of 32"),
    ({"widths": [16, 32]}, "multiples of 32"),
    ({"layers": 60000}, "more layers than it holds tensors for"),
    ({"channels": 65536}, "codes of this autoencoder are|tensor 'encoder.conv_out.bias' is"),
    ({"scale": 0.0}, "a scale above 0"),
    ({"scale": "1"}, "expected a value like"),
    ({"shift": 2e3}, "a shift near it"),
    ({"quant": 7}, "expected a value like"),
    ({"extra": 1}, "Unknown option 'extra'"),
]


def test_a_header_that_lies_is_refused(folder: Path) -> None:
    """Of the decoder's part and of the encoder's."""
    ganvas.load(folder, side=16, device="cpu").save(folder / "own.safetensors")
    tensors, header = io.load_tensors(folder / "own.safetensors")
    header.pop("format_version")
    network = header["config"]["network"]
    for (said, refusal), part in itertools.product(HOSTILE, ("generator", "critic")):
        changed = copy.deepcopy(header)
        options = {name: each for name, each in said.items() if name not in ("shape", "latent_dim")}
        changed["config"]["network"][part] = {**network[part], **options}
        changed["config"]["network"]["latent_dim"] = said.get("latent_dim", network["latent_dim"])
        changed["shape"] = said.get("shape", header["shape"])
        io.save_tensors(folder / "lies.safetensors", tensors, changed)
        with pytest.raises(GanvasError, match=refusal):
            ganvas.load(folder / "lies.safetensors", device="cpu")


def test_mutated_files_are_refused_or_opened(tmp_path: Path) -> None:
    draw, refused, longest = random.Random(0), 0, 0
    for i in range(60):
        found: Any = dict(kl() if i % 2 else tiny())
        mutate(found, draw)
        try:
            made = recognise(found, tmp_path / "model.pt")
            generator = generator_of(made)
        except GanvasError as error:
            refused, longest = refused + 1, max(longest, len(str(error)))
            continue
        assert generator(torch.zeros(1, generator.latent_dim)).shape == (1, *made.shape)
    assert 10 < refused < 60
    assert longest < 1000, "a sentence"


def test_it_is_a_model_like_any_other(folder: Path) -> None:
    model = ganvas.load(folder, side=8, device="cpu")
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
        ({"encoder.conv_in.weight": None}, 16, "tensor 'encoder.conv_in.weight' is missing, expected"),
        ({"encoder.conv_out.weight": None}, 16, "incomplete, tensor 'encoder.conv_out.weight' is missing"),
        ({"more.weight": torch.zeros(2)}, 16, "no place in the network that ganvas knows, as 'more.weight'"),
        ({"encoder.more.weight": torch.zeros(2)}, 16, "tensor 'encoder.more.weight' is"),
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
        ganvas.load(tmp_path / "a.safetensors", side=side, device="cpu")
