"""What a generator gives away of its training data: copies, membership, extraction, each beside a planted control."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganvas import arrays, notebook
from ganvas.config import DataConfig
from ganvas.data import Dataset, load_beside, load_dataset
from ganvas.errors import PATH, GanvasError, counted, expect
from ganvas.features import Choice, Extractor, embed, open_extractor
from ganvas.features.cache import batches
from ganvas.features.select import trained_on
from ganvas.latent import LatentZ
from ganvas.latent.critic import scorer_of
from ganvas.latent.invert import invert
from ganvas.metrics.evaluate import Fakes, given_as, open_fakes
from ganvas.metrics.memorisation import authenticity, copying_test
from ganvas.metrics.resample import pick
from ganvas.model import Audited, Model
from ganvas.model_data import CHANGED, class_names, has_changed, is_own, load_data_of
from ganvas.notebook import shown
from ganvas.pictures import sheet
from ganvas.privacy import membership
from ganvas.privacy.copies import ALARM, LEAST, Copies, Distances, tail_chance
from ganvas.privacy.inference import LEAST as LEAST_ASKED
from ganvas.privacy.inference import Inference, Scales, infer, secrets
from ganvas.privacy.scores import DRAWS, Attack, Groups, attack
from ganvas.types import Progress, Shape, counting, silent

SIDE = 32
"""Pixels that pictures are compared at, at most: copies show there, and more cost more."""
PLANTED = (0.001, 0.01, 0.1)
"""Shares of the samples that the control adds as copies of training images."""
ASKED = 5000
"""Members and non-members that an attack is judged by, at most."""
SHOWN = 10
"""Closest pairs that are kept as pictures."""
REPEATED = 0.5
"""Share of the held-out samples that may be among those trained on, too."""
FEWEST = 20
"""Bootstrap draws where no interval is shown."""
NEEDS = {
    "distance": "samples", "monte-carlo": "samples", "density": "samples", "calibrated": "samples and a reference",
    "domias": "samples and a reference", "critic": "the critic", "reconstruction": "the generator",
}  # fmt: skip
"""Attack -> what the attacker must have."""


@dataclass(frozen=True)
class Control:
    """What the tests say of the same samples with copies of training images among them."""

    rate: float
    """Copies over samples."""
    planted: int
    found: int
    """Of the planted ones, those among the suspects of the copying test."""
    chance: float
    """Of the copying test."""
    noticed: Mapping[str, bool]
    """Attack -> whether it tells anything now. Judged by members of whom few were planted."""
    inferred: Mapping[str, bool]
    """Attribute -> whether more of it is told now of what was trained on; empty for other data than series."""


@dataclass(frozen=True)
class Pair:
    """A sample and the real one that it comes nearest to."""

    place: int
    """Among the training samples."""
    sample: int
    """Among the generated ones."""
    p: float
    ratio: float


@dataclass(frozen=True, repr=False)
class Audit:
    """What `audit` found."""

    source: str
    data: str
    samples: int
    train: int
    held_out: int
    view: str
    """What samples are compared by."""
    attacks: Mapping[str, Attack]
    chance: float
    """That a generator which copies nothing shows so near a copy (`find_copies`)."""
    suspects: int
    """Training samples said to be reproduced, at most a tenth of them wrongly."""
    drawn: int | None
    """Of the `SHOWN` that come nearest, those that the generator draws when it is searched; None where it was not."""
    duplicates: float
    """Share of the samples that some earlier sample repeats exactly."""
    copying: tuple[float, float] | None
    """C_T and its error; None with too few samples."""
    authenticity: float
    controls: tuple[Control, ...]
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]
    inferences: Mapping[str, Inference] = field(default_factory=dict)
    """Attribute of series -> what samples tell of it to whoever knows the rest; empty for other data."""
    pictures: Tensor | None = field(default=None)
    """uint8 (4, SHOWN, C, H, W): suspects, their samples; held-out samples nearest to some sample, those samples."""
    notes: tuple[str, ...] = ()
    """What reading the data and the samples had to say."""

    def __repr__(self) -> str:
        return f"Audit({self.verdict()[0]})"

    @property
    def largest(self) -> float:
        """AUC of the best attack."""
        return max(found.auc.value for found in self.attacks.values())

    @property
    def telling(self) -> list[str]:
        """The attacks that beat chance; on a model that gives nothing away there is one in at most `ALARM` of the audits."""
        return [name for name, found in self.attacks.items() if found.chance * len(self.attacks) <= ALARM]

    @property
    def inferred(self) -> list[str]:
        """The attributes of which samples tell more of what was trained on; wrongly in at most `ALARM` of the audits."""
        return [
            name for name, found in self.inferences.items() if found.chance * len(self.inferences) <= ALARM
        ]

    @property
    def leaks(self) -> bool:
        """Whether anything was found."""
        return self.chance <= ALARM or bool(self.telling) or bool(self.inferred)

    @property
    def brief(self) -> Audited:
        """What the file of a model holds of it."""
        attacks = {}
        for name, found in self.attacks.items():
            auc, low, high = (round(figure, 3) for figure in found.auc)
            attacks[name] = auc, low, high
        return Audited(self.samples, attacks, self.suspects)

    def verdict(self) -> list[str]:
        """In words: what was found, how sure that is, what to do."""
        told = self.telling
        lines = []
        if self.chance <= ALARM:
            lines.append(
                f"Copies: {counted(self.suspects, 'training sample')} of {self.train:,} lie nearer to a sample than chance "
                f"allows (p {written(self.chance)} for all together)"
                + (
                    f", and a search makes the generator draw {self.drawn} of the {SHOWN} nearest"
                    if self.drawn
                    else ""
                )
                + ". Look at the pairs; train on more data, for a shorter time, with augmentation, or with --private."
            )
        elif told or self.inferred:
            lines.append(
                f"Copies: none found; no training sample lies nearer to a sample than chance allows (p {written(self.chance)})."
            )
        if told:
            best = max(told, key=lambda name: self.attacks[name].auc.value)
            auc = self.attacks[best].auc
            tell = "tells" if len(told) == 1 else "tell"
            lines.append(
                f"Membership: {', '.join(told)} {tell} members from others; the best, {best}, with an AUC of {auc.value:.3f} "
                f"({auc.low:.3f} to {auc.high:.3f}). Whoever has {NEEDS[best]} can guess who was in the data that much "
                "better than by chance."
            )
        for name in self.inferred:
            (share, guessed), nearer = self.inferences[name].told, self.inferences[name].nearer
            whom = "of those" if share == 1 else f"of the {share:.0%} that a sample comes nearest to"
            right = (
                f"guesses {name} right for {guessed.train:.1%} {whom} that were trained on, and for {guessed.held_out:.1%} of "
                f"others: samples give away {guessed.risk.value:.1%} of what could not be guessed "
                f"({guessed.risk.low:.1%} to {guessed.risk.high:.1%})."
            )
            if nearer is not None and guessed.risk.low <= 0:
                right = (
                    f"guesses {name} nearer to the truth for those that were trained on than for others (AUC "
                    f"{nearer.value:.3f}, {nearer.low:.3f} to {nearer.high:.3f})."
                )
            lines.append(f"Attributes: whoever knows the rest of a record {right}")
        if not lines:
            worst = max(found.auc.high for found in self.attacks.values())
            bound = (
                f"and an AUC above {worst:.3f} is ruled out for these attacks at 95 %"
                if worst < 1
                else "but no AUC is ruled out for these attacks, so few are independent"
            )
            lines.append(
                f"Nothing found: no attack beats chance, {bound}. "
                + (
                    f"Nor is any of {counted(len(self.inferences), 'attribute')} told better of what was trained on. "
                    if self.inferences
                    else ""
                )
                + "Other attacks may do better: only training with --private bounds them all."
            )
        blind = [control for control in self.controls if control.chance > ALARM]
        if blind:
            rates = ", ".join(f"{control.rate:.1%}" for control in blind)
            lines.append(
                f"The copying test does not notice planted copies at {rates}: below that it can not tell."
            )
        deaf = [name for name in self.attacks if any(name in c.noticed for c in self.controls)]
        deaf = [name for name in deaf if not any(c.noticed.get(name) for c in self.controls)]
        if deaf:
            most = f"{self.controls[-1].rate:.0%}"
            lines.append(
                f"{', '.join(deaf)} {'does' if len(deaf) == 1 else 'do'} not notice copies planted at {most} of the samples: "
                "that nothing was found by them says nothing of copies."
            )
        unheard = [name for name in self.inferences if not any(each.inferred[name] for each in self.controls)]
        if unheard:
            most = f"{self.controls[-1].rate:.0%}"
            lines.append(
                f"Guesses of {', '.join(unheard)} do not notice copies planted at {most} of the samples: that nothing was found "
                "by them says nothing of copies."
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, and what is known of the files alone."""
        document = asdict(replace(self, pictures=None, attacks={}, inferences={}))
        del document["pictures"], document["notes"]
        document["inferences"] = {
            name: {**found.to_json(), "tells": name in self.inferred}
            for name, found in self.inferences.items()
        }
        document["attacks"] = {
            name: {
                "auc": found.auc._asdict(), "needs": NEEDS[name], "members": found.members,
                "non_members": found.non_members, "tells": name in self.telling, "chance": found.chance,
                "hits": {f"{rate:g}": None if hit is None else hit._asdict() for rate, hit in found.hits.items()},
            }
            for name, found in self.attacks.items()
        }  # fmt: skip
        return {**document, "largest": self.largest, "leaks": self.leaks, "verdict": self.verdict()}

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a table of the attacks."""
        rows = []
        for name, found in self.attacks.items():
            hits = [
                "too few" if hit is None else f"{hit.value:.2%} ({hit.low:.2%} to {hit.high:.2%})"
                for hit in found.hits.values()
            ]
            auc = f"{found.auc.value:.3f} ({found.auc.low:.3f} to {found.auc.high:.3f})"
            rows.append([name, NEEDS[name], auc, *hits, f"{found.members:,} / {found.non_members:,}"])
        return ["attack", "needs", "AUC", "hits at 1 % false", "at 0.1 %", "members / others"], rows

    def told(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a table of the attributes of series; no rows for other data."""
        rows = []
        for name, found in self.inferences.items():
            given = [
                "too few"
                if each is None
                else f"{each.risk.value:.1%} ({each.risk.low:.1%} to {each.risk.high:.1%})"
                for each in found.guesses.values()
            ]
            of_all = found.guesses[1.0]
            assert of_all is not None
            right = [f"{share:.1%}" for share in (of_all.train, of_all.held_out, found.baseline)]
            rows.append([name, *right, *given, f"{of_all.members:,} / {of_all.others:,}"])
        heads = [
            "right guesses of",
            "trained on",
            "others",
            "without samples",
            "risk",
            "of the surest 10 %",
            "of 1 %",
        ]
        return [*heads, "records"], rows

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, the closest pairs, the attacks, the attributes."""
        parts = [notebook.line(each) for each in (*self.verdict(), *self.warnings)]
        if (shown := picture(self)) is not None:
            parts.append(notebook.picture(shown, "closest pairs"))
        tables = [notebook.table(*each) for each in (self.cells(), self.told()) if each[1]]
        return notebook.card("Audit", *parts, *tables)


def written(p: float) -> str:
    """A p-value: nobody believes the digits of a very small one."""
    return f"= {p:.2g}" if p >= 1e-6 else "< 1e-6"


def picture(found: Audit) -> Image.Image | None:
    """The training samples that come nearest to samples, beside held-out ones that do; None of points."""
    if found.pictures is None:
        return None
    p = [f"p {written(pair.p)}" for pair in found.pairs]
    names = ("trained on", "nearest sample", "never seen", "nearest sample")
    title = "The closest pairs: what a copy looks like, and what chance looks like"
    return sheet(tuple(found.pictures), names, captions=([], p, [], []), title=title)


@shown
def audit(
    fake: Fakes,
    data: str | None = None,
    *,
    held_out: str | None = None,
    against: Fakes | None = None,
    n: int = 10_000,
    extractor: Choice = "raw",
    reconstruct: int = 64,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Audit:
    """What does a generator give away of what it was trained on?

    `fake` is a model or its path, or samples that any program made (array, folder, .zip, .npy, .npz). `data` is what it was
    trained on, by default as the model says; the part that ganvas holds out of every training has not been seen. Of samples
    whose training is not known, give others that it has not seen with `held_out`. Half of them answer as non-members, half
    are the reference, unless samples of another generator are (`against`).

    Pictures are compared as pixels, at a side of at most 32: a network that was trained on the same data would itself give
    them away. `extractor` chooses another view. `reconstruct` members and as many others are searched for in the latent
    space (0 for none). Everything is a figure with its error; `Audit.verdict` says it in words.
    Raises `GanvasError` where it is not known what was seen, or the held-out samples are too few.
    """
    tell = progress or silent
    arrays.count(n, "n", 100)
    arrays.count(reconstruct, "reconstruct", 0)
    arrays.seed(seed)
    for name, named in (("data", data), ("held_out", held_out)):
        if named is not None:
            expect(named, PATH, name, "the path or the name of data")
    data, held_out = (None if each is None else os.fspath(each) for each in (data, held_out))
    model, given, source = open_fakes(fake, device, critic=True)
    train, unseen, unsure, config = _real(model, data, held_out, device)
    given = _as_data(fake, given, train, config)
    names = train.class_names
    if len(unseen) < 2 * LEAST:
        enough = held_out is None and (len(train) + len(unseen)) // 2 >= 2 * LEAST
        more = ", or train with --set data.holdout=0.5" if enough else ""
        raise GanvasError(
            f"An audit needs {2 * LEAST} samples that the generator has not seen; of {unseen.name} there are {len(unseen)}. "
            f"Give others with --held-out{more}."
        )
    look = _View(open_extractor(extractor, train, device), extractor == "raw" and train.is_images)
    drawn = _Drawn.of(model, given, n, seed, names)
    look.check(drawn.shape, train)
    x, z = look.of(train, tell, "training data"), look.of(unseen, tell, "held-out data")
    seen_too = _among(z, x)
    if held_out is not None and seen_too > REPEATED * len(z):
        raise GanvasError(
            f"{seen_too:,} of {counted(len(z), 'sample')} of {unseen.name} are among what was trained on: nothing tells members "
            "from themselves. Give samples that the generator has not seen, with --held-out."
        )
    f, repeated = look.rows(drawn)
    others, apart = _halves(unseen, seed)
    # Chosen before they are put in order: the first of sorted data are all of one class.
    outside, apart = others[:ASKED].sort().values, apart.sort().values
    inside = pick(len(x), min(ASKED, len(x)), seed).sort().values
    reference, beside = z[apart], _Drawn(None, unseen.subset(apart), len(apart), seed)
    if against is not None:
        drawing, ready, _ = open_fakes(against, device)
        beside = _Drawn.of(drawing, _as_data(against, ready, train, config), n, seed + 1, names)
        look.check(beside.shape, train)
        reference = look.rows(beside)[0]
        outside = _shuffled(len(z), seed)[:ASKED].sort().values

    distances = Distances(x, z, unseen.spans_of_part)
    tell("copies", 0, 1)
    near = distances.nearest(f)
    found = distances.copies(near)
    closest = found.p.argsort(stable=True)[:SHOWN]
    tell("copies", 1, 1)
    groups = _groups(train, inside), _groups(unseen, outside)
    attacks, missing = _black_box(x[inside], z[outside], f, reference, groups, seed, tell)
    searched, found_again = min(reconstruct, len(inside), len(outside)), None
    classes = 0 if model is None else model.generator.num_classes
    known = not classes or train.num_classes == unseen.num_classes == classes
    if model is not None and known:
        by_critic = _by_critic(model, train, unseen, inside, outside, groups, seed)
        attacks |= {} if by_critic is None else {"critic": by_critic}
        if searched >= 10 and train.is_images:
            few, rest = (
                places[torch.linspace(0, len(places) - 1, searched).long()] for places in (inside, outside)
            )
            asked = few, rest, closest
            if (by_search := _by_search(model, train, unseen, asked, seed, tell)) is None:
                missing["reconstruction"] = "the generator draws one and the same sample"
            else:
                attacks["reconstruction"], found_again = by_search
    tell("attributes", 0, 1)
    guessed = partial(_guessed, train, unseen, inside, outside, beside, seed=seed)
    inferences = guessed([drawn])
    controls = []
    for done, rate in enumerate(PLANTED):
        tell("planted copies", done, len(PLANTED))
        places = pick(len(x), min(max(1, round(rate * len(f))), len(x)), seed + 2)
        control = _control(rate, places, distances, near, x, z, f, reference, inside, outside, groups, seed)
        planted = _Drawn(None, train.subset(places), len(places), seed)
        told = guessed([drawn, planted], draws=FEWEST)
        inferred = {name: each.chance * len(told) <= ALARM for name, each in told.items()}
        controls.append(replace(control, inferred=inferred))
    tell("planted copies", len(PLANTED), len(PLANTED))
    copying = None
    if min(len(f), len(z)) >= 60:
        try:
            score, deviation = copying_test(f, x, z, seed=seed, groups=(drawn.stretches, unseen.stretches))
            copying = score, deviation
        except GanvasError as error:  # of a collapsed model no cell may hold enough
            missing["C_T"] = str(error)
    warnings = [*filter(None, [unsure]), *(f"{name} left out: {why}" for name, why in missing.items())]
    if seen_too:
        warnings.append(
            f"{counted(seen_too, 'held-out sample')} of {len(z):,} are among what was trained on, too: copies and members "
            "of their kind are not noticed. Give others with --held-out."
        )
    if any(each is not None for each in groups):
        of, and_of = (
            len(places if each is None else each.unique())
            for each, places in zip(groups, (inside, outside), strict=True)
        )
        warnings.append(
            f"Windows of one sequence are not independent: the intervals of attacks rest on {of:,} sequences or stretches of "
            f"time of members and {and_of:,} of others{', too few for any' if min(of, and_of) < 2 else ''}."
        )
    if not known:
        warnings.append(
            f"The model draws {counted(classes, 'class', 'classes')}, and not all of {train.name} and {unseen.name} are said to "
            "be of these: neither its critic was asked, nor its generator searched."
        )
    twins = int((distances.held_room < 1.01 * distances.held_room.min()).sum()) - 1
    if twins > 0.01 * len(z):
        words = counted(twins, "held-out sample")
        warnings.append(f"{words} nearly repeat others: such data have twins, and so may samples.")
    pairs = tuple(
        Pair(int(place), int(found.nearest[place]), float(found.p[place]), float(found.ratio[place]))
        for place in closest
    )
    return Audit(
        source, train.name, len(drawn), len(x), len(z), look.words, attacks, found.chance, len(found.suspects()), found_again,
        repeated, copying, authenticity(f, x, train.kin),
        tuple(controls), pairs,
        tuple(warnings), inferences, _pictures(found, closest, train, unseen, drawn),
        tuple(dict.fromkeys((*(given.notes if given else ()), *train.notes, *unseen.notes))),
    )  # fmt: skip


def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _halves(unseen: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    """Places of the held-out samples that are asked about, in random order, and of those that are the reference.

    No window of one half overlaps with one of the other, or the reference would be nearer to whoever was not trained on. Raises
    `GanvasError` where so few are left that nothing can be said.
    """
    order = _shuffled(len(unseen), seed)
    if unseen.spans is None:
        half = len(unseen) // 2
        return order[:half], order[half:]
    whole = torch.arange(len(unseen.items)) if unseen.indices is None else unseen.indices
    parts = [each.indices for each in unseen.halves(LEAST)]
    apart, asked = (torch.isin(whole, each).nonzero()[:, 0] for each in parts if each is not None)
    return order[torch.isin(order, asked)], apart


def _among(rows: Tensor, others: Tensor) -> int:
    """How many of the rows (n, D) are exactly one of the others (m, D)."""
    asked = Counter(_marks(rows))
    there = {mark for mark in _marks(others) if mark in asked}
    return sum(asked[mark] for mark in there)


def _marks(samples: Tensor) -> Iterator[bytes]:
    """Of each, part by part: a tensor that is walked through becomes as many objects as it has rows, all at once."""
    return (_mark(sample) for part in samples.split(arrays.BLOCK) for sample in part)


def _mark(sample: Tensor) -> bytes:
    """What tells a sample from others, in few bytes."""
    return blake2b(sample.contiguous().numpy().tobytes(), digest_size=16).digest()


def _real(
    model: Model | None, data: str | None, held_out: str | None, device: str
) -> tuple[Dataset, Dataset, str, DataConfig]:
    """What was seen and what was not, what to say of it, and how it is read."""
    if model is None and data is None:
        raise GanvasError("Samples of unknown origin need what they were made from: --data TRAINING_IMAGES.")
    if model is not None:
        dataset, config = load_data_of(model, data)
    else:
        config = DataConfig(str(data))
        dataset = load_dataset(config)
    own = model is not None and is_own(model, dataset, config)
    changed = model is not None and has_changed(model, dataset, config)
    if held_out is not None:
        resize = config.resize if model is None else model.info.resize
        # Of series the columns are what they are in the data.
        same = config if dataset.series is not None else DataConfig(resize=resize)
        same = replace(same, source=held_out, also=())
        other = load_beside(same, dataset.white, dataset.shape, dataset.series).classed_as(
            dataset.class_names
        )
        if own:
            return (*trained_on(dataset, config, device, other), "", config)
        words = f"{dataset.name} {CHANGED}: not all of it are members, and whoever is one is told worse than it says here."
        return dataset, other, words if changed else "", config
    if not own:
        why = f": it {CHANGED}" if changed else ""
        raise GanvasError(
            f"It is not known which part of {dataset.name} was trained on{why}. Give samples that the generator has not seen, "
            "of the same kind, with --held-out."
        )
    return (*trained_on(dataset, config, device), "", config)


def _as_data(fake: Fakes, given: Dataset | None, real: Dataset, config: DataConfig) -> Dataset | None:
    """What is given, read and scaled as the real ones are."""
    return None if given is None else given_as(fake, given, real, known=config)


@dataclass(frozen=True)
class _Drawn:
    """Samples of a model, or a part of data, a few at a time: of large pictures memory does not hold all of them."""

    model: Model | None
    part: Dataset | None
    n: int
    seed: int
    labelled: bool = True
    """Whether the classes of the model are those of the data."""

    @classmethod
    def of(
        cls, model: Model | None, given: Dataset | None, n: int, seed: int, names: Sequence[str]
    ) -> "_Drawn":
        """Samples to look at, with the class of each where they have one of these names."""
        if model is not None:
            return cls(model, None, n, seed, class_names(model) in ((), tuple(names)))
        assert given is not None
        n = min(n, len(given))
        return cls(None, given.classed_as(names).subset(pick(len(given), n, seed).sort().values), n, seed)

    def __len__(self) -> int:
        return self.n

    @property
    def stretches(self) -> Tensor | None:
        """Of windows that are given, `Dataset.stretches`."""
        return None if self.part is None else self.part.stretches

    def __iter__(self) -> Iterator[Tensor]:
        if self.model is not None:
            return (each.cpu() for each in self.model.batches(self.n, seed=self.seed))
        assert self.part is not None
        return batches(self.part, 256)

    @property
    def shape(self) -> Shape:
        """Of one sample."""
        if self.model is not None:
            return self.model.shape
        assert self.part is not None
        return self.part.shape

    def at(self, numbers: Tensor) -> Tensor:
        """Some of them."""
        if self.model is not None:
            return torch.cat([self.model.sample(1, seed=self.seed, first=int(i)) for i in numbers])
        assert self.part is not None
        return self.part.take(numbers)[0]

    def take(self) -> tuple[Tensor, Tensor | None]:
        """All of them, and their classes."""
        if self.part is not None:
            return self.part.take(torch.arange(self.n))
        assert self.model is not None
        return torch.cat(list(self)), self.model.labels(self.n) if self.labelled else None


def _joined(several: Sequence[_Drawn]) -> tuple[Tensor, Tensor | None]:
    samples, labels = zip(*(each.take() for each in several), strict=True)
    known = [each for each in labels if each is not None]
    return torch.cat(samples), torch.cat(known) if len(known) == len(labels) else None


def _guessed(
    train: Dataset, unseen: Dataset, inside: Tensor, outside: Tensor, beside: _Drawn, fakes: Sequence[_Drawn], *,
    draws: int = DRAWS, seed: int,
) -> dict[str, Inference]:  # fmt: skip
    """Of each attribute of series, what samples tell of it; those that are the same in all records are left out."""
    schema = train.series
    if schema is None:
        return {}
    four = train.take(inside), unseen.take(outside), _joined(fakes), beside.take()
    # Numbers that networks drew may be anything.
    series = [schema.decode(each.nan_to_num(0.0, 1.0, -1.0).clamp(-10, 10)) for each, _ in four]
    names = train.class_names == unseen.class_names
    labelled = names and all(labels is not None for _, labels in four)
    scales = Scales.of(series[3])
    groups = _groups(train, inside), _groups(unseen, outside), None, None
    records = [
        secrets(found, labels if labelled else None, train.num_classes, scales, group)
        for found, (_, labels), group in zip(series, four, groups, strict=True)
    ]
    found = {}
    for name in records[0]:
        of = [each[name]() for each in records]
        telling = len(torch.as_tensor(of[1].secret).unique(dim=0)) > 1
        if telling and min(len(each.known) for each in of) and len(of[1].known) >= LEAST_ASKED:
            found[name] = infer(*of, draws=draws, seed=seed)
        del of  # else they lie beside those of the next
    return found


class _View:
    """What samples are compared by: an extractor's features, of pictures brought to `SIDE` before where pixels are taken."""

    def __init__(self, extractor: Extractor, pixels: bool) -> None:
        self.extractor, self.pixels = extractor, pixels
        self.words = f"pixels, side at most {SIDE}" if pixels else extractor.id

    def check(self, shape: Shape, real: Dataset) -> None:
        """Raise `GanvasError` for samples of a shape that cannot be compared with the real ones."""
        by_size = not real.is_images or self.pixels
        if len(shape) != len(real.shape) or (by_size and self._size(shape) != self._size(real.shape)):
            theirs, ours = (" x ".join(map(str, each)) for each in (shape, real.shape))
            raise GanvasError(
                f"The samples are {theirs}, {real.name} is {ours}: they cannot be compared. Give pictures of one shape and as "
                "many channels, or points of as many numbers."
            )

    def _size(self, shape: Shape) -> Shape:
        """Of what samples of a shape are compared by."""
        side = max(shape[1:]) if self.pixels else 0
        if side <= SIDE:
            return shape
        return (shape[0], *(max(1, round(each * SIDE / side)) for each in shape[1:]))

    def _small(self, samples: Tensor) -> Tensor:
        shape = tuple(samples.shape[1:])
        size = self._size(shape)[1:]
        if size == shape[1:]:
            return samples
        small = F.interpolate(
            samples.float(), list(size), mode="bilinear", antialias=True, align_corners=False
        )
        return small.round().clamp(0, 255).to(torch.uint8)

    def rows(self, drawn: _Drawn) -> tuple[Tensor, float]:
        """What samples are compared by, and the share of them that some earlier one repeats exactly."""
        marks = set[bytes]()

        def parts() -> Iterator[Tensor]:
            for each in drawn:
                marks.update(map(_mark, each))
                yield self._small(each)

        found = torch.from_numpy(embed(self.extractor, parts()).features)
        return found, 1 - len(marks) / len(drawn)

    def of(self, dataset: Dataset, tell: Progress, what: str) -> Tensor:
        parts = (self._small(each) for each in batches(dataset, 256))
        return torch.from_numpy(embed(self.extractor, parts, counting(tell, what, len(dataset))).features)


def _groups(part: Dataset, places: Tensor) -> Tensor | None:
    """What those at `places` are independent of one another by."""
    found = part.stretches
    return None if found is None else found[places]


def _black_box(
    x: Tensor, z: Tensor, fake: Tensor, reference: Tensor, groups: Groups, seed: int, tell: Progress = silent
) -> tuple[dict[str, Attack], dict[str, str]]:
    """Of members x and others z, by samples alone; and why some cannot be had."""
    asked = torch.cat([x, z])
    radius = float(-membership.distance(asked, fake).median())
    scores: dict[str, Callable[[], Tensor]] = {
        "distance": lambda: membership.distance(asked, fake),
        "monte-carlo": lambda: membership.monte_carlo(asked, fake, max(radius, 1e-12)),
        "density": lambda: membership.density(asked, fake),
        "calibrated": lambda: membership.calibrated(asked, fake, reference),
        "domias": lambda: membership.domias(asked, fake, reference),
    }
    found, missing = dict[str, Attack](), dict[str, str]()
    for done, (name, score) in enumerate(scores.items()):
        tell("attacks", done, len(scores))
        try:
            values = score()
            found[name] = attack(values[: len(x)], values[len(x) :], seed=seed, groups=groups)
        except GanvasError as error:  # samples that are all the same have no density
            missing[name] = str(error)
    tell("attacks", len(scores), len(scores))
    return found, missing


def _by_critic(
    model: Model, train: Dataset, unseen: Dataset, inside: Tensor, outside: Tensor, groups: Groups, seed: int
) -> Attack | None:
    """By the critic's score (LOGAN, Hayes et al. 2019, white-box); None where there is no critic, or of several samples."""
    scorer = scorer_of(model)
    if scorer is None:
        return None
    scores = []
    for part, places in ((train, inside), (unseen, outside)):
        asked = part.subset(places)
        labels = asked.take_labels() if model.generator.num_classes else None
        found, start = [], 0
        for images in batches(asked, 256):
            label = None if labels is None else labels[start : start + len(images)]
            found.append(scorer.scores(images, label))
            start += len(images)
        scores.append(torch.cat(found))
    return attack(*scores, seed=seed, groups=groups)


def _by_search(
    model: Model,
    train: Dataset,
    unseen: Dataset,
    asked: tuple[Tensor, Tensor, Tensor],
    seed: int,
    tell: Progress,
) -> tuple[Attack, int] | None:
    """By how well the generator can draw a sample (GAN-Leaks, Chen et al. 2020, white-box), and how many suspects it draws.

    `asked`: members, others and suspects. A suspect counts as drawn where one that was never seen is hit so well in one of 100
    such audits at most (`tail_chance`). None for a generator that draws one sample alone.
    """
    space = LatentZ(model)
    found = []
    for what, places, part in zip(
        ("members", "others", "suspects"), asked, (train, unseen, train), strict=True
    ):
        images, labels = part.take(places)
        searched = invert(
            space, images.to(model.device), labels=labels if model.generator.num_classes else None, restarts=2, steps=100,
            seed=seed, progress=partial(tell, f"search for {what}"),
        )  # fmt: skip
        found.append(searched.residual.detach().double().cpu())
        if not found[-1].isfinite().all():  # over the distance of two of its samples
            return None
    members, others, suspects = found
    p, _ = tail_chance(suspects, others)
    return attack(-members, -others, seed=seed), int((p * len(p) <= ALARM).sum())


def _control(
    rate: float, places: Tensor, distances: Distances, near: list[tuple[Tensor, Tensor]], x: Tensor, z: Tensor, fake: Tensor,
    reference: Tensor, inside: Tensor, outside: Tensor, groups: Groups, seed: int,
) -> Control:  # fmt: skip
    """The same tests, with copies of the training samples at `places` added to the fakes."""
    copies = x[places]
    both = [
        (torch.minimum(old, new), torch.where(new < old, which + len(fake), place))
        for (old, place), (new, which) in zip(near, distances.nearest(copies), strict=True)
    ]
    test = distances.copies(both)
    found = int(torch.isin(places, test.suspects()).sum())
    attacks, _ = _black_box(x[inside], z[outside], torch.cat([fake, copies]), reference, groups, seed)
    noticed = {name: each.chance * len(attacks) <= ALARM for name, each in attacks.items()}
    return Control(rate, len(places), found, test.chance, noticed, {})


def _pictures(found: Copies, first: Tensor, train: Dataset, unseen: Dataset, drawn: _Drawn) -> Tensor | None:
    if not train.is_images or tuple(drawn.shape) != tuple(train.shape):
        return None
    second = found.held_ratio.argsort()[:SHOWN]
    rows = [
        train.take(first)[0], drawn.at(found.nearest[first]),
        unseen.take(second)[0], drawn.at(found.held_nearest[second]),
    ]  # fmt: skip
    return torch.stack([each.cpu() for each in rows]) if min(map(len, rows)) == SHOWN else None
