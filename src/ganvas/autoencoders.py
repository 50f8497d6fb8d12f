"""Autoencoders of other toolkits, from local .safetensors files: those of Stable Diffusion, and the tiny ones made after them.

Nothing is downloaded, and nothing in a file is run: names and shapes of its tensors say what the network is.
"""

import math
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays, io
from ganvas.checkpoint import rebuild
from ganvas.device import resolve_device
from ganvas.errors import PATH, GanvasError, expect
from ganvas.foreign import WrappedEncoder, WrappedGenerator
from ganvas.importers.parts import Weights
from ganvas.model import Model, ModelInfo

KL_FILE = "diffusion_pytorch_model.safetensors"
TINY_FILES = {"encoder": "taesd_encoder.safetensors", "decoder": "taesd_decoder.safetensors"}
SCALE = 0.18215
"""What codes of Stable Diffusion 1 and 2 are multiplied by, so that their spread is about 1 (Rombach et al. 2022)."""
GROUPS, EPSILON = 32, 1e-6
"""Of the group norms of AutoencoderKL."""
OLD = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""Names of the attention's layers in files of before."""
TINY_STAGES = (1, 3, 3, 3)
"""Blocks of the encoder at each size of the tiny one; the decoder has them the other way round."""
SIDE, LARGEST_SIDE = 64, 1024
"""Of the pictures, where none is asked for, and at most."""


def open_autoencoder(path: str | Path, *, side: int = SIDE, device: str = "auto") -> Model:
    """A model of an autoencoder's file: its decoder draws pictures of `side` px, its encoder gives their codes.

    `path` is a file in the layout of AutoencoderKL, or a folder with diffusion_pytorch_model.safetensors (config.json beside it
    says by what codes are multiplied); one of AutoencoderTiny; or a folder with taesd_encoder.safetensors and
    taesd_decoder.safetensors. z is the maps of a code, flattened, in units of about their spread. They are not normal:
    `ganvas.latent.prior.fit_prior` fits what they are drawn from.

    Raises `GanvasError` for a file of another layout, an incomplete one, or a side that the network does not halve evenly.
    """
    expect(path, PATH, "path", "a .safetensors file of an autoencoder, or its folder")
    path = Path(path)
    network, tensors, scale = _read(path)
    spec = network.read(Weights(tensors, network.source))
    made = rebuild(path, {"numbers": list(spec)}, lambda: network(*spec), tensors)
    assert isinstance(made, Autoencoder)
    side = arrays.count(side, "side", 8)
    if side % made.factor or side > LARGEST_SIDE:
        raise GanvasError(
            f"side is {side}; this autoencoder takes multiples of {made.factor} up to {LARGEST_SIDE}."
        )
    made = made.float().to(resolve_device(device)).eval().requires_grad_(False)
    small = side // made.factor
    latent, shape = (made.channels, small, small), (3, side, side)
    generator = WrappedGenerator(
        Decoding(made, scale), shape, math.prod(latent), latent, 0, (-1.0, 1.0), "normal"
    )
    encoder = WrappedEncoder(Encoding(made, scale), shape, None)
    notes = (
        f"a code is {made.channels} maps of {small} x {small}, times {scale:g}",
        "codes are not normal: fit_prior",
    )
    info = ModelInfo.of(generator, network.source, notes=notes, source=network.source)
    return Model(generator.eval(), None, info, encoder=encoder.eval())


def is_autoencoder(path: Path) -> bool:
    """Whether a path is for `open_autoencoder`: its file or folder, and any .safetensors that ganvas did not write."""
    if path.is_dir():
        return any((path / name).is_file() for name in (KL_FILE, *TINY_FILES.values()))
    return path.suffix == ".safetensors" and path.is_file() and not io.is_own(path)


def _read(path: Path) -> tuple[type["Autoencoder"], dict[str, Tensor], float]:
    """The kind of network, its tensors by the names that it has here, and what codes are multiplied by."""
    folder = path.parent if path.name in TINY_FILES.values() else path
    pair = {part: folder / name for part, name in TINY_FILES.items()}
    there = [each.is_file() for each in pair.values()]
    if all(there):
        return TinyAutoencoder, _of_its_author(pair), 1.0
    if any(there):
        raise GanvasError(f"{folder} holds one half of TAESD; put {' and '.join(TINY_FILES.values())} there.")
    file = path / KL_FILE if path.is_dir() else path
    tensors = io.load_foreign(file)
    if "encoder.layers.0.weight" in tensors:
        return TinyAutoencoder, tensors, 1.0
    if any(name.startswith(("encoder.down.0.", "first_stage_model.")) for name in tensors):
        raise GanvasError(
            f"{file} is an AutoencoderKL with the names of CompVis' code, and those of diffusers are read here. Write it anew "
            "with diffusers: AutoencoderKL.from_single_file(FILE).save_pretrained(FOLDER)."
        )
    if "encoder.conv_in.weight" not in tensors:
        raise GanvasError(
            f"{file} is no autoencoder in the layout of AutoencoderKL, AutoencoderTiny or TAESD: no encoder.conv_in.weight. "
            "Build the modules with their own code and give both to ganvas.wrap(decoder, encoder=...)."
        )
    found = {}
    for name, tensor in tensors.items():
        for before, now in OLD.items():
            name = name.replace(before, now)
        found[name] = tensor
    config = file.with_name("config.json")
    scale = io.read_json(config).get("scaling_factor", SCALE) if config.is_file() else SCALE
    if type(scale) not in (int, float) or not 0 < scale < 1e3:
        raise GanvasError(f"{config}: scaling_factor is {scale!r}; it must be a number above 0.")
    return KlAutoencoder, found, float(scale)


def _of_its_author(pair: dict[str, Path]) -> dict[str, Tensor]:
    """The tensors of TAESD's two files by the names of diffusers."""
    found = {}
    for part, file in pair.items():
        for name, tensor in io.load_foreign(file).items():
            number, _, rest = name.partition(".")
            # The decoder's first layer squashes and has no weights: its numbers begin at 1.
            place = int(number) - (part == "decoder") if number.isdecimal() and len(number) < 4 else number
            found[f"{part}.layers.{place}.{rest}"] = tensor
    return found


class Autoencoder(nn.Module):
    """An encoder and a decoder of pictures (B, 3, H, W) from -1 to 1, whose codes are maps."""

    source = ""
    factor = 8
    """Pixels to a number of a map, each way."""
    channels = 4
    """Maps of a code."""

    @classmethod
    def read(cls, weights: Weights) -> tuple[Any, ...]:
        """The arguments that build it, from the shapes of a file's tensors."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """Pictures -> maps (B, channels, H / factor, W / factor), of a posterior the mean."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Maps -> pictures."""
        raise NotImplementedError


class Decoding(nn.Module):
    """z, as maps, -> pictures."""

    def __init__(self, autoencoder: Autoencoder, scale: float) -> None:
        super().__init__()
        self.autoencoder, self.scale = autoencoder, scale

    def forward(self, z: Tensor) -> Tensor:
        return self.autoencoder.decode(z / self.scale)


class Encoding(Decoding):
    """Pictures -> z, as maps."""

    def forward(self, z: Tensor) -> Tensor:
        return self.scale * self.autoencoder.encode(z)


class KlAutoencoder(Autoencoder):
    """AutoencoderKL of diffusers: the first stage of Stable Diffusion (Rombach et al. 2022)."""

    source = "AutoencoderKL"

    def __init__(self, widths: tuple[int, ...], layers: int, channels: int, quant: bool) -> None:
        super().__init__()
        self.factor, self.channels = 2 ** (len(widths) - 1), channels
        self.encoder = KlEncoder(widths, layers, 2 * channels)
        self.decoder = KlDecoder(widths[::-1], layers + 1, channels)
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1) if quant else nn.Identity()
        self.post_quant_conv = nn.Conv2d(channels, channels, 1) if quant else nn.Identity()

    @classmethod
    def read(cls, weights: Weights) -> tuple[Any, ...]:
        stages = weights.count("encoder.down_blocks.{}.", 8)
        widths = tuple(
            len(weights.take(f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 4)) for i in range(stages)
        )
        if not widths or any(width % GROUPS for width in widths):
            raise GanvasError(f"{cls.source}: widths {list(widths)}; they must be multiples of {GROUPS}.")
        layers = weights.count("encoder.down_blocks.0.resnets.{}.", 8)
        channels = len(weights.take("encoder.conv_out.weight", 4)) // 2
        return widths, layers, channels, "quant_conv.weight" in weights

    def encode(self, x: Tensor) -> Tensor:
        found: Tensor = self.quant_conv(self.encoder(x))
        return found[:, : self.channels]

    def decode(self, codes: Tensor) -> Tensor:
        found: Tensor = self.decoder(self.post_quant_conv(codes))
        return found


class KlEncoder(nn.Module):
    """Stages that halve the size - the middle - a convolution to the maps of mean and log variance."""

    def __init__(self, widths: tuple[int, ...], layers: int, outputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        inputs = (widths[0], *widths)
        self.down_blocks = nn.ModuleList(
            KlStage(inputs[i], width, layers, "downsamplers" if i < len(widths) - 1 else "")
            for i, width in enumerate(widths)
        )
        self.mid_block = KlMiddle(widths[-1])
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        found: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))
        return found


class KlDecoder(nn.Module):
    """A convolution - the middle - stages that double the size - the picture."""

    def __init__(self, widths: tuple[int, ...], layers: int, channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.mid_block = KlMiddle(widths[0])
        inputs = (widths[0], *widths)
        self.up_blocks = nn.ModuleList(
            KlStage(inputs[i], width, layers, "upsamplers" if i < len(widths) - 1 else "")
            for i, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        found: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return found


class KlStage(nn.Module):
    """Residual blocks of one size, and what changes it: `downsamplers`, `upsamplers` or nothing."""

    def __init__(self, inputs: int, outputs: int, layers: int, scaling: str) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(KlBlock(outputs if i else inputs, outputs) for i in range(layers))
        self.scaling = scaling
        if scaling:
            self.add_module(scaling, nn.ModuleList([Scaled(outputs, down=scaling == "downsamplers")]))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = block(x)
        for scaled in getattr(self, self.scaling) if self.scaling else ():
            x = scaled(x)
        return x


class Scaled(nn.Module):
    """Half the size by a strided convolution that sees beyond the lower and right border, or double and convolved."""

    def __init__(self, channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, 2 if down else 1, 0 if down else 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0))
        return found


class KlBlock(nn.Module):
    """norm - SiLU - conv, twice, plus the input, through a 1 x 1 convolution where the widths differ."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inputs, EPSILON)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, outputs, EPSILON)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        total: Tensor = self.conv_shortcut(x) + hidden
        return total


class KlMiddle(nn.Module):
    """A block, attention of one head over all places, a block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(KlBlock(channels, channels) for _ in range(2))
        self.attentions = nn.ModuleList([KlAttention(channels)])

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return found


class KlAttention(nn.Module):
    """Every place looks at every other, and what it sees is added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, channels, EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        places = self.group_norm(x).flatten(2).transpose(1, 2)
        seen = F.scaled_dot_product_attention(self.to_q(places), self.to_k(places), self.to_v(places))
        total: Tensor = x + self.to_out[0](seen).transpose(1, 2).unflatten(2, x.shape[2:])
        return total


class TinyAutoencoder(Autoencoder):
    """TAESD, the AutoencoderTiny of diffusers: plain convolutions that were taught to give the codes of Stable Diffusion."""

    source = "AutoencoderTiny"

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        encoder: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
        decoder: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for i, blocks in enumerate(TINY_STAGES):
            if i:
                encoder.append(nn.Conv2d(width, width, 3, 2, 1, bias=False))
            encoder += [TinyBlock(width) for _ in range(blocks)]
        for i, blocks in enumerate(TINY_STAGES[::-1]):
            if i:
                decoder += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
            decoder += [TinyBlock(width) for _ in range(blocks)]
        self.encoder = nn.ModuleDict(
            {"layers": nn.Sequential(*encoder, nn.Conv2d(width, channels, 3, padding=1))}
        )
        self.decoder = nn.ModuleDict({"layers": nn.Sequential(*decoder, nn.Conv2d(width, 3, 3, padding=1))})

    @classmethod
    def read(cls, weights: Weights) -> tuple[Any, ...]:
        first = weights.take("encoder.layers.0.weight", 4)
        return len(first), weights.take("decoder.layers.0.weight", 4).shape[1]

    def encode(self, x: Tensor) -> Tensor:
        found: Tensor = self.encoder["layers"]((x + 1) / 2)
        return found

    def decode(self, codes: Tensor) -> Tensor:
        found: Tensor = self.decoder["layers"](3 * (codes / 3).tanh())
        return 2 * found - 1


class TinyBlock(nn.Module):
    """Three convolutions, plus the input, and a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.conv = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)
