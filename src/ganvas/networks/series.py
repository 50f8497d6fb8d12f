"""Series (C, T): a recurrent pair, one of dilated causal convolutions, and a small transformer.

All three read and write a series in chunks of steps (chunked emission: Lin et al. 2020, DoppelGANger, section 4.1.1), and draw
first what is constant in time, which every chunk then sees (section 4.2). z holds some numbers for the whole series and
some for each chunk. What they are made of is plain torch: it can be differentiated twice on every device, which cuDNN's
GRU and fused attention cannot.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, Family, GeneratorBase, categories_of, families
from ganvas.networks.layers import MinibatchStd, maybe_spectral_norm
from ganvas.series import Part, read_layout, read_lengths
from ganvas.types import Shape

BLEND = 5
"""Steps that are seen together before chunks are cut, and after they are put together."""
PRESENT = 2.0
"""Logit of a value that may be missing, before anything is learned: most are there."""
FLAT = 1e-3
"""Half-range below which a drawn window is not stretched any further."""
PAIRS = 2**24
"""Of steps, that attention holds at once where no gradient is kept."""
GAIN = 3.0
"""What differences of first order are multiplied by before the critic sees them; those of second order by its square."""


def check_shape(shape: Shape, family: str) -> None:
    """Raise `GanvasError` unless the samples are series (C, T)."""
    if len(shape) == 3:
        raise GanvasError(
            f"Network {family!r} draws series, not images of shape {tuple(shape)}. Use --network dcgan."
        )
    if len(shape) != 2:
        raise GanvasError(
            f"Network {family!r} draws series, not points of shape {tuple(shape)}. Use --network mlp."
        )


class Gru(nn.Module):
    """Weights of a gated recurrent unit (Cho et al. 2014): `run` goes through the steps of several at once."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, 3 * hidden)
        self.recur = nn.Linear(hidden, 3 * hidden)


def run(units: Sequence[Gru], x: Tensor) -> Tensor:
    """(B, L, I) -> the states of all units side by side (B, L, units x H), which begin at 0; the second one reads from the end.

    Plain torch: its own runs in cuDNN on a GPU, whose gradient cannot be differentiated again. Units of equal width go step
    by step together, since so small a step costs its calls and not its numbers.
    """
    given = torch.stack([unit.read(x.flip(1) if i else x) for i, unit in enumerate(units)])
    weight = torch.stack([unit.recur.weight.t() for unit in units])
    bias = torch.stack([unit.recur.bias[None] for unit in units])
    hidden = weight.shape[1]
    state, states = x.new_zeros(len(units), x.shape[0], hidden), []
    for now in given.unbind(2):
        old = torch.baddbmm(bias, state, weight)
        reset, keep = torch.sigmoid(now[..., : 2 * hidden] + old[..., : 2 * hidden]).chunk(2, 2)
        new = torch.tanh(now[..., 2 * hidden :] + reset * old[..., 2 * hidden :])
        # Under autocast these are in bf16, and the state is as x.
        state = torch.lerp(new.to(state.dtype), state, keep.to(state.dtype))
        states.append(state)
    found = torch.stack(states, 2)
    return torch.cat([way.flip(1) if i else way for i, way in enumerate(found)], 2)


class Recurrent(nn.Module):
    """`depth` layers of GRUs; those of a critic read in both directions. (B, L, W) -> (B, L, W)."""

    def __init__(self, width: int, depth: int, causal: bool) -> None:
        super().__init__()
        ways = 1 if causal else 2
        self.layers = nn.ModuleList(
            nn.ModuleList(Gru(width, -(-width // ways)) for _ in range(ways)) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[2]
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            x = run([unit for unit in layer if isinstance(unit, Gru)], x)[:, :, :width]
        return x


class Convolutions(nn.Module):
    """`depth` residual blocks of causal convolutions of 3, dilated by 1, 2, 4, ... (Bai et al. 2018, section 3)."""

    def __init__(self, width: int, depth: int, causal: bool) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=2**i) for i in range(depth))
        self.second = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for i, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            seen = first(F.pad(F.leaky_relu(x, 0.2), (2 * 2**i, 0)))
            x = (x + second(F.leaky_relu(seen, 0.2))) * 0.5**0.5
        return x.transpose(1, 2)


class Attention(nn.Module):
    """`depth` blocks of a transformer with the norm in front (Xiong et al. 2020); in a generator no step sees later ones."""

    HEADS = 4

    def __init__(self, width: int, depth: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = math.gcd(self.HEADS, width), causal
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(width),
                    "ask": nn.Linear(width, 3 * width),
                    "give": nn.Linear(width, width),
                    "next": nn.LayerNorm(width),
                    "up": nn.Linear(width, 2 * width),
                    "down": nn.Linear(2 * width, width),
                }
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        count, steps, width = x.shape
        x = x + positions(steps, width, x)
        later = torch.ones(steps, steps, dtype=torch.bool, device=x.device).triu(1)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            parts = block["ask"](block["norm"](x)).view(count, steps, 3, self.heads, width // self.heads)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            # Where no gradient is kept some steps look at a time: of a series of thousands all pairs take gigabytes.
            rows = steps if torch.is_grad_enabled() else max(1, PAIRS // (count * self.heads * steps))
            parts = [
                self._seen(asks, key, value, hidden)
                for asks, hidden in zip(query.split(rows, 2), later.split(rows), strict=True)
            ]
            seen = (
                (parts[0] if len(parts) == 1 else torch.cat(parts, 2))
                .transpose(1, 2)
                .reshape(count, steps, width)
            )
            x = x + block["give"](seen)
            x = x + block["down"](F.gelu(block["up"](block["next"](x))))
        return x

    def _seen(self, query: Tensor, key: Tensor, value: Tensor, later: Tensor) -> Tensor:
        """What some steps see. Not by torch's fused attention, whose gradient cannot be differentiated again."""
        scores = query @ key.transpose(2, 3) * key.shape[3] ** -0.5
        scores = scores.masked_fill(later, -math.inf) if self.causal else scores
        found: Tensor = scores.softmax(3) @ value
        return found


def positions(steps: int, width: int, like: Tensor) -> Tensor:
    """Sines and cosines (steps, width) that tell a step's place (Vaswani et al. 2017, section 3.5); they go on for ever."""
    # In bf16, as x is under autocast, an angle of 200 has no digits behind the point.
    wide = torch.promote_types(like.dtype, torch.float32)
    place = torch.arange(steps, device=like.device, dtype=wide)[:, None]
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=like.device, dtype=wide) / width)
    found = torch.stack([(place * rates).sin(), (place * rates).cos()], 2).flatten(1)[:, :width]
    return found.to(like.dtype)


class ChunkedGenerator(GeneratorBase):
    """What all generators of series share: z has numbers for the whole series, and `noise` more for each chunk of `chunk` steps.

    `layout` says what the channels are (`ganvas.series.Schema.layout`): numbers end in a hyperbolic tangent, those of a frame
    are brought to reach from -1 to 1 in every window, categories end in a softmax; what is missing, and what lies
    behind the end, is 0.
    """

    family: ClassVar[str]

    def __init__(
        self, shape: Shape, latent_dim: int, num_classes: int, layout: str, chunk: int, noise: int
    ) -> None:
        check_shape(shape, self.family)
        super().__init__(shape, latent_dim, num_classes)
        if chunk < 1 or noise < 0:
            raise GanvasError(
                f"The {self.family} generator needs chunk from 1 and noise from 0, got {chunk} and {noise}."
            )
        self.chunk = chunk
        self.chunks = -(-shape[1] // chunk)
        self.trained = shape[1]
        """Steps of a frame."""
        # As much as there is for each chunk, and at least half of z for the whole.
        self.noise = min(noise, latent_dim // 2 // self.chunks)
        self.whole = latent_dim - self.chunks * self.noise
        self.parts, self.once = read_layout(layout, shape[0])
        if any(part.frame >= len(self.once) // 2 and part.frame >= 0 for part in self.parts):
            raise GanvasError(f"The layout {layout[:80]!r} has no centre and half-range of a frame.")
        self.fixed = sum(part.size for part in self.once)
        """Channels that are constant in time."""

    def over(self, steps: int) -> Self:
        """This generator of series of another length: the same weights and the same points, whose first steps are the same.

        Frames stay those of the length that was trained, and chunks beyond have z's own numbers again, in another order.
        """
        found = copy.copy(self)
        found.shape = (self.shape[0], steps)
        found.chunks = -(-found.drawn_steps // self.chunk)
        return found

    @property
    def drawn_steps(self) -> int:
        """Steps that are drawn: fewer than were trained are the first of those, of which alone a frame is known."""
        return max(self.shape[1], self.trained)

    def split(self, z: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the whole series has of z and of its class (B, whole), and what each chunk has of z (B, chunks, noise)."""
        given = self.with_labels(z, labels)
        return torch.cat([given[:, : self.whole], given[:, self.latent_dim :]], 1), self._noise(z)

    def _noise(self, z: Tensor) -> Tensor:
        """What each chunk has of z (B, chunks, noise)."""
        own = z[:, self.whole : self.latent_dim]
        found = [own]
        for again in range(1, -(-self.chunks * self.noise // max(1, own.shape[1]))):
            # Beyond the trained length the same numbers come in another order with other signs, still independent normal ones.
            random = torch.Generator().manual_seed(again)
            order = torch.randperm(own.shape[1], generator=random).to(z.device)
            signs = (torch.randint(2, order.shape, generator=random) * 2 - 1).to(z)
            found.append(own[:, order] * signs)
        numbers = torch.cat(found, 1)[:, : self.chunks * self.noise]
        return numbers.reshape(numbers.shape[0], self.chunks, self.noise)


class SeriesGenerator(ChunkedGenerator):
    """z -> what is constant in time -> one chunk of `chunk` steps after another -> series (C, T)."""

    body: ClassVar[type[nn.Module]]
    quantiles: Tensor | None
    """Of the lengths, of all classes or of each; none: ends are drawn as the other channels are."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        layout: str = "",
        chunk: int = 3,
        noise: int = 8,
        channels: int = 96,
        depth: int = 1,
        lengths: str = "",
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, layout, chunk, noise)
        fixed, width = self.fixed, channels
        told = lengths if any(part.kind == "e" for part in self.parts) else ""
        quantiles = read_lengths(told, num_classes, shape[1]) if told else None
        self.register_buffer("quantiles", quantiles)
        inputs = self.whole + self.input_dim - latent_dim
        self.start = nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width))
        self.attributes = (
            nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, fixed))
            if fixed
            else None
        )
        self.join = nn.Linear(width + fixed + self.noise + (2 if told else 0), width)
        self.steps = self.body(width, depth, True)
        self.glide = nn.Linear(width, width // 2)
        self.emit = nn.Linear(width, chunk * (width // 2))
        # Steps of a chunk come out at once; without a look at those before them its edge is seen in the spectrum.
        self.blend = nn.Conv1d(width // 2, width // 2, BLEND)
        self.last = nn.Conv1d(width // 2, shape[0] - fixed, 1)
        begin(self)
        # What a chunk has beside the line is learned from nothing: at random it would be the same teeth in every chunk.
        nn.init.zeros_(self.emit.weight)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        whole, noise = self.split(z, labels)
        alive: Tensor | None = None
        if self.quantiles is not None:
            lengths = self.lengths(z, labels)
            alive, place = self._until(lengths)
            noise = torch.cat([noise, place], 2)
        start = self.start(whole)
        once = [] if self.attributes is None else [ended(self.attributes(whole)[:, :, None], self.once)]
        told = torch.cat([F.leaky_relu(start, 0.2), *(x[:, :, 0] for x in once)], 1)
        hidden = self.steps(self.join(torch.cat([told[:, None].expand(-1, self.chunks, -1), noise], 2)))
        # From each chunk's state to the next one on a straight line: what is smooth need not be put together of its steps.
        before = torch.cat([start[:, None], hidden[:, :-1]], 1)
        share = torch.arange(1, self.chunk + 1, device=z.device, dtype=z.dtype)[:, None] / self.chunk
        between = self.glide(torch.lerp(before[:, :, None], hidden[:, :, None], share.to(hidden.dtype)))
        own = self.emit(hidden).unflatten(2, (self.chunk, -1))
        steps = F.leaky_relu(between + own, 0.2).flatten(1, 2).transpose(1, 2)
        # What lies before the first step is that step again: with zeros there every series would begin with a leap.
        led = torch.cat([steps[:, :, :1].expand(-1, -1, BLEND - 1), steps], 2)
        blended = F.leaky_relu(self.blend(led), 0.2)
        drawn = self.last(blended + steps)[:, :, : self.drawn_steps]
        series = ended(drawn, self.parts, self.trained, alive)[:, :, : self.shape[1]]
        return torch.cat([series, *(x.expand(-1, -1, self.shape[1]) for x in once)], 1)

    def lengths(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """How many steps each series has (B,): the quantile, among those of its class, that the first normal number of z stands
        for.

        Its gradient is that of a normal distribution of the same spread: many quantiles are alike, and theirs would be 0.
        """
        assert self.quantiles is not None
        count = self.quantiles.shape[1]
        own = z[:, min(sum(categories_of(self.prior)), self.latent_dim - 1)]
        place = (torch.special.ndtr(own) * count - 0.5).clamp(0, count - 1)
        below = place.floor().long().clamp(max=count - 2)
        rows = self.quantiles.to(z).clamp(min=1)  # a file from elsewhere may hold any
        known = rows.expand(z.shape[0], -1) if len(rows) == 1 or labels is None else rows[labels]
        low, high = known.gather(1, below[:, None])[:, 0], known.gather(1, below[:, None] + 1)[:, 0]
        slope = known.std(1) * own
        return torch.lerp(low, high, place - below).detach() + (slope - slope.detach())

    def _until(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each step is one of its series (B, 1, T), 1 or 0, with the gradient of a soft edge; and for each chunk
        (B, chunks, 2) the share of its series that is over, and the share of all steps that is still to come.

        Series as long as the longest that were seen were cut there, or may have been: asked for more steps they go on, as they
        began, and are told behind those that were trained what the last chunk of these is told.
        """
        steps, whole = self.drawn_steps, lengths > self.trained - 0.5
        lengths = torch.where(whole, self.trained, lengths)
        ends = torch.where(whole, steps, lengths)
        left = ends[:, None] - torch.arange(steps, device=lengths.device, dtype=lengths.dtype) - 0.5
        soft = torch.sigmoid(left)
        alive = (left > 0).to(soft) + (soft - soft.detach())
        begins = torch.arange(self.chunks, device=lengths.device, dtype=lengths.dtype) * self.chunk
        begins = begins.clamp(max=(self.trained - 1) // self.chunk * self.chunk)
        over = (begins / lengths[:, None]).clamp(max=1.0)
        to_come = ((lengths[:, None] - begins) / self.trained).clamp(-1.0, 1.0)
        return alive[:, None], torch.stack([over, to_come], 2)


def ended(x: Tensor, parts: list[Part], frame: int = 0, alive: Tensor | None = None) -> Tensor:
    """What a network draws of channels (B, C, T) -> the values that they may have. Windows of a frame have `frame` steps.

    `alive` (B, 1, T): whether each step is one of its series, where that is not drawn.
    """
    pieces = list(x.split([part.size for part in parts], 1))
    if alive is None:
        alive = next((_lasting(p) for p, part in zip(pieces, parts, strict=True) if part.kind == "e"), None)
    there: Tensor | None = None
    found, masks = [], list[Tensor | None]()
    for piece, part in zip(pieces, parts, strict=True):
        mask, there = there, None
        if part.kind == "m":
            piece = there = torch.sigmoid(piece + PRESENT)
        elif part.kind == "c":
            piece = piece.softmax(1)
        elif part.kind == "e":
            assert alive is not None
            piece = alive
        elif part.frame < 0:
            piece = torch.tanh(piece)
        masks.append(mask)
        found.append(piece)
    for number in sorted({part.frame for part in parts if part.frame >= 0}):
        own = [i for i, part in enumerate(parts) if part.frame == number]
        for i, piece in zip(own, _framed(found, masks, alive, own, frame), strict=True):
            found[i] = piece
    shown = []
    for piece, mask, part in zip(found, masks, parts, strict=True):
        piece = piece if mask is None else piece * mask
        shown.append(piece if alive is None or part.kind == "e" else piece * alive)
    return torch.cat(shown, 1)


def _framed(
    found: list[Tensor], masks: list[Tensor | None], alive: Tensor | None, own: list[int], frame: int
) -> tuple[Tensor, ...]:
    """The channels `own`, stretched together: what counts of their first `frame` steps reaches from -1 to 1."""
    x = torch.cat([found[i] for i in own], 1)
    hidden = torch.zeros_like(x, dtype=torch.bool)
    for row, i in enumerate(own):
        mask = masks[i]
        if mask is not None:
            hidden[:, row] |= (mask if alive is None else mask * alive)[:, 0] < 0.5
    if alive is not None:
        hidden |= alive < 0.5
    first, hidden = x[:, :, :frame], hidden[:, :, :frame]
    hidden &= ~hidden.flatten(1).all(1)[:, None, None]
    high = first.masked_fill(hidden, -math.inf).amax((1, 2), keepdim=True)
    low = first.masked_fill(hidden, math.inf).amin((1, 2), keepdim=True)
    return torch.split((x - (high + low) / 2) / ((high - low) / 2).clamp(min=FLAT), 1, 1)


def _lasting(x: Tensor) -> Tensor:
    """Whether a series still goes on at each step (B, 1, T), 1 to 0: it never begins again, and the first step is one."""
    on = torch.sigmoid(x + 3.0)[:, :, 1:].cumprod(2)
    return torch.cat([torch.ones_like(x[:, :, :1]), on], 2)


def _with_differences(x: Tensor) -> Tensor:
    """Series (B, C, T) and their differences of first and second order (B, 3 C, T), which are larger than they were.

    A curve with teeth of a hundredth lies a hundredth from one without, and a critic whose gradient is bounded can hardly
    tell them; of their differences it is the most.
    """
    steps = x.shape[2]
    first = F.pad(x[:, :, 1:] - x[:, :, :-1], (1, 0))
    second = F.pad(x[:, :, 2:] - 2 * x[:, :, 1:-1] + x[:, :, :-2], (1, 1))[:, :, :steps]
    return torch.cat([x, GAIN * first, GAIN**2 * second], 1)


def begin(network: nn.Module) -> None:
    """Weights that keep the spread of what passes through them (He et al. 2015), and no biases.

    torch's own lose a factor of 1.7 a layer: through the eight from z to a series nothing of z was left beside the biases, all
    samples began alike, and it took most of a short run to part them.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, 0.2)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Gru):
            nn.init.xavier_uniform_(module.read.weight)
            nn.init.orthogonal_(module.recur.weight)


class SeriesCritic(CriticBase):
    """Series (C, T) in chunks of `chunk` steps -> the body's states -> first, last and mean of them -> logit."""

    body: ClassVar[type[nn.Module]]
    family: ClassVar[str]

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        chunk: int = 3,
        channels: int = 96,
        depth: int = 1,
        minibatch_std: bool = True,
        spectral_norm: bool = False,
        **heads: Any,
    ) -> None:
        check_shape(shape, self.family)
        width = channels
        super().__init__(shape, num_classes, width, **heads)
        self.chunk = chunk
        near = max(2, width // 2)
        self.look = maybe_spectral_norm(
            nn.Conv1d(3 * shape[0], near, BLEND, padding=BLEND // 2), spectral_norm
        )
        self.read = maybe_spectral_norm(nn.Linear(near * chunk, width), spectral_norm)
        self.steps = self.body(width, depth, False)
        self.judge = maybe_spectral_norm(nn.Linear(3 * width, width), spectral_norm)
        self.minibatch_std = MinibatchStd() if minibatch_std else nn.Identity()
        self.last = maybe_spectral_norm(nn.Linear(width + minibatch_std, 1), spectral_norm)
        begin(self)

    def features(self, x: Tensor) -> Tensor:
        x = (
            F.pad(F.leaky_relu(self.look(_with_differences(x)), 0.2), (0, -x.shape[2] % self.chunk))
            .transpose(1, 2)
            .unflatten(1, (-1, self.chunk))
            .flatten(2)
        )
        hidden = self.steps(F.leaky_relu(self.read(x), 0.2))
        pooled = torch.cat([hidden[:, 0], hidden[:, -1], hidden.mean(1)], 1)
        return F.leaky_relu(self.judge(pooled), 0.2)

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(self.minibatch_std(features))
        return logits


class RecurrentGenerator(SeriesGenerator):
    """A GRU that emits a chunk of steps at a time."""

    body, family = Recurrent, "recurrent"


class RecurrentCritic(SeriesCritic):
    """A GRU that reads in both directions."""

    body, family = Recurrent, "recurrent"


class TcnGenerator(SeriesGenerator):
    """Dilated causal convolutions over the chunks."""

    body, family = Convolutions, "tcn"


class TcnCritic(SeriesCritic):
    """Dilated causal convolutions over the chunks."""

    body, family = Convolutions, "tcn"


class TransformerGenerator(SeriesGenerator):
    """Causal attention over the chunks."""

    body, family = Attention, "transformer-small"


class TransformerCritic(SeriesCritic):
    """Attention over all chunks."""

    body, family = Attention, "transformer-small"


TINY = {"channels": 8}
families.add(
    "recurrent",
    Family(RecurrentGenerator, RecurrentCritic, "series", TINY),
    "series: a GRU that emits chunks of steps, and one that reads in both directions",
)
families.add(
    "tcn",
    Family(TcnGenerator, TcnCritic, "", TINY),
    "series: dilated causal convolutions",
)
families.add(
    "transformer-small",
    Family(TransformerGenerator, TransformerCritic, "", TINY),
    "series: a small causal transformer",
)
