"""A model as a folder for the Hugging Face hub: card, config, weights, previews; `ganvas.load` opens the folder, too."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ganvas import io, pictures
from ganvas.config import Config, DataConfig, to_dict
from ganvas.data import datasets, origin
from ganvas.errors import GanvasError, counted, printable
from ganvas.hub import BESIDE, CARD, CONFIG, GENERATOR, LIBRARY, LONGEST_CONFIG, check_name, client, explained
from ganvas.metrics.rows import Row, rows_among
from ganvas.model import PACKAGED_LICENSE, Model, ModelInfo
from ganvas.model_data import class_names
from ganvas.report import interpolation
from ganvas.runs import Run
from ganvas.training import methods
from ganvas.types import kind_of

SAMPLES, WALK = "samples.png", "walk.png"
FILES = (CARD, CONFIG, GENERATOR, *BESIDE.values(), SAMPLES, WALK)
"""All that is ever written, and uploaded."""
PLACE = "ORG/NAME"
"""In a card that was written before its name on the hub is known."""
LONGEST = 120
"""Characters of a name in a card."""
LONGEST_CARD = 2**20
"""Bytes of a card that somebody has changed."""
SHOWN_CLASSES = 40
SHOWN = 64
"""Samples in its picture, fewer of large ones."""


class Written(NamedTuple):
    """A folder as it was written."""

    files: list[Path]
    kept: bool
    """Whether its card is one that somebody has changed."""


def write(model: Model, folder: Path, *, repo: str | None = None, license: str | None = None) -> Written:
    """Write the folder that is uploaded; without a `repo` its card has `PLACE` there.

    Without a `license` the card says that there is none; the packaged model's is that of ganvas. A card that somebody has changed
    since it was written stays, with the name for `PLACE`.

    Raises `GanvasError` for a folder that holds other files, a module of the user's own, a model by `over`, and a name that is
    none on the hub.
    """
    if model.info.architecture is None:
        raise GanvasError(
            "This model is a module of your own: a file of it could not be opened without its code."
        )
    model.check_length()
    if repo is not None:
        check_name(repo)
    license = license or (PACKAGED_LICENSE.lower() if model.is_packaged else None)
    if folder.exists() and (not folder.is_dir() or {each.name for each in folder.iterdir()} - set(FILES)):
        raise GanvasError(f"{folder} holds other files, which nobody asked to share. Give another --out.")
    _changed_card(folder)
    place = folder.resolve()
    here = place in (Path.cwd(), *Path.cwd().parents)
    if here or place.is_mount() or not io.writable(place.parent):
        why = (
            "it is where you are" if here else "it is a disk of its own, or lies where nothing can be written"
        )
        raise GanvasError(
            f"{folder} is written anew as a whole, which cannot be: {why}. Give another --out, say a new folder in it."
        )
    # Before a file is written: what draws nothing is refused here.
    count = pictures.affordable(model.shape, SHOWN)
    drawn = {SAMPLES: pictures.png(pictures.draw(model.sample(count), schema=model.info.series))}
    if len(model.shape) == 3:
        drawn[WALK] = pictures.png(interpolation(model))
    header = shared(model.info).header()
    header.get("data", {}).pop("mark", None)  # of this user
    if names := model.generator.settings:
        header["settings"] = {name: getattr(model.generator, name) for name in names}
    beside = {"critic": model.critic, "encoder": model.encoder}
    parts = {"generator": model.generator, **beside}
    about = {"library_name": LIBRARY, "ganvas": version("ganvas")}
    there = {kind: network is not None for kind, network in beside.items()}
    # As a whole: what is left of a model that was here before would be uploaded with this one's.
    with io.atomic_folder(place) as new:
        new.mkdir()
        for kind, name in {"generator": GENERATOR, **BESIDE}.items():
            if (network := parts[kind]) is not None:
                io.save_tensors(new / name, network.state_dict(), {**header, "kind": kind})
        theirs = _changed_card(folder)  # as it is now: the work may have taken minutes
        if theirs is None:
            text = card(model, measured(model), repo, license)
            digest = _digest(text)
            written = {"digest": digest, "mark": origin.sign(f"card {digest}")}
        else:
            text, written = theirs[0].replace(PLACE, repo or PLACE), theirs[1]
        (new / CARD).write_bytes(text.encode())
        config = {**about, **there, "hash": model.hash, "card": written, **header}
        text = json.dumps(config, indent=2, allow_nan=False) + "\n"
        if len(text) > LONGEST_CONFIG:
            raise GanvasError(
                f"Its {CONFIG} would have {len(text):,} bytes, and {LONGEST_CONFIG:,} are read at most. Shorten the names of "
                "classes or columns."
            )
        (new / CONFIG).write_text(text, encoding="utf-8")
        for name, content in drawn.items():
            (new / name).write_bytes(content)
    return Written([folder / name for name in FILES if (folder / name).is_file()], theirs is not None)


def _changed_card(folder: Path) -> tuple[str, io.Json] | None:
    """The card of a folder, where it is not as ganvas wrote it, and what says that this user's export wrote one there; None where
    it is, or there is none.

    Raises `GanvasError` for a folder that no export of this user wrote: what lies there would be lost, or go out by their name.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    config: io.Json = {}
    with suppress(GanvasError):
        config = io.read_json(folder / CONFIG, longest=LONGEST_CONFIG)
    known = config.get("card")
    own = isinstance(known, dict) and origin.is_signed(f"card {known.get('digest')}", known.get("mark"))
    if not own or any(each.is_symlink() for each in folder.iterdir()):
        raise GanvasError(
            f"{folder} holds files that no export of yours wrote (or one of an earlier version, or while GANVAS_CACHE could not "
            "be written), and they would be replaced. Remove it, or give another --out."
        )
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > LONGEST_CARD:
            raise ValueError(f"it has more than {LONGEST_CARD:,} bytes")
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise GanvasError(f"{path} cannot be kept: {error}. Mend it, or remove it for a new one.") from error
    assert isinstance(known, dict)
    return None if known.get("digest") == _digest(text) else (text, known)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def login(repo: str) -> Any:
    """The client of whoever is logged in. Raises `GanvasError` where nobody is."""
    try:
        hub = client().HfApi()
        hub.whoami()
    except GanvasError:
        raise
    except Exception as error:  # of several libraries below the client
        raise explained(error, repo) from error
    return hub


def upload(folder: Path, repo: str, hash: str, *, public: bool = False) -> tuple[str, str]:
    """Create the model `repo` where there is none, private unless `public`, and upload the files of the model with this hash; its
    address and the commit.

    Raises `GanvasError` where nobody is logged in, for what the hub refuses, and where the folder holds another model by now.
    """
    hub = login(check_name(repo))
    with tempfile.TemporaryDirectory() as own:
        # A copy: another export may have the same folder, which it replaces as a whole.
        held = [_held(folder)]
        for name in FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, Path(own, name))
        held += [_held(Path(own)), _held(folder)]
        if {*held} != {hash}:
            raise GanvasError(
                f"{folder} was written anew by another command: it holds another model, and nothing was uploaded. Give each a "
                "folder of its own by --out."
            )
        try:
            address = hub.create_repo(repo, private=not public, exist_ok=True)
            done = hub.upload_folder(
                repo_id=repo, folder_path=own, allow_patterns=list(FILES), commit_message="A model of ganvas"
            )
        except Exception as error:
            raise explained(error, repo) from error
    return str(address), str(done.oid)


def _held(folder: Path) -> str:
    """The hash of the model that a folder says it holds."""
    return str(io.read_json(folder / CONFIG, longest=LONGEST_CONFIG).get("hash"))


def shared(info: ModelInfo) -> ModelInfo:
    """What others may know: without the folders of this machine, which are where the data lie."""

    def plain(config: DataConfig) -> DataConfig:
        return replace(config, source=_source(config.source), also=tuple(map(_source, config.also)))

    data = info.data and replace(info.data, config=plain(info.data.config), mark="")
    training = info.training and _without_places(replace(info.training, data=plain(info.training.data)))
    return replace(info, data=data, training=training)


def _without_places(config: Config) -> Config:
    """The config without the folders of the models that its training began with, or whose codes it learned."""
    start, options = config.training.start, dict(config.method.options)
    if isinstance(place := options.get("autoencoder"), str):
        options["autoencoder"] = _model(place)
    return replace(
        config,
        training=replace(config.training, start=_model(start)),
        method=replace(config.method, options=options),
    )


def _model(place: str) -> str:
    """The last name of a model's place; an address on the hub as it is."""
    return place if place.startswith("hub:") else Path(place).name


def _source(source: str) -> str:
    known = source in datasets or source.startswith(("hub:", "toy:"))
    return source if known else Path(source).name


def measured(model: Model) -> list[Row]:
    """The figures that a run keeps of this snapshot: the last one of each kind, with a floor where one has it."""
    if model.path is None or model.path.parent.parent.name != "snapshots":
        return []
    snapshot, run = model.path.parent, Run(model.path.parents[2])
    found: dict[str, Row] = {}
    for row in rows_among(run.metrics()):
        of_this = snapshot.name in (Path(row.snapshot).name, Path(row.snapshot).parent.name)
        # A name counts whole kimg: training may have written it anew.
        of_this &= row.kimg in (None, model.info.kimg)
        before = found.get(row.label)
        if of_this and (before is None or row.floor is not None or before.floor is None):
            found[row.label] = row
    return list(found.values())


def plain(text: object) -> str:
    """A word from a file as a card may have it: no markup, links or lines of its own.

    Whatever is no letter, digit, space, comma or hyphen becomes a character reference.
    """
    cut = printable(" ".join(str(text).split()))[:LONGEST]
    return "".join(each if each.isalnum() or each in " ,-" else f"&#{ord(each)};" for each in cut)


def front_matter(fields: Mapping[str, Any]) -> str:
    """YAML, of which JSON is a part: no word of a file ends a line or begins a field."""
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items() if value]
    return "\n".join(["---", *lines, "---"])


def card(model: Model, rows: list[Row], repo: str | None, license: str | None) -> str:
    """README.md: front matter, how to open it, what it draws, what was measured beside its floors."""
    info, images = model.info, len(model.shape) == 3
    source = info.data.config.source if info.data else ""
    parameters = sum(each.numel() for each in model.generator.parameters())
    fields = {
        "library_name": LIBRARY,
        "license": license,
        "pipeline_tag": "unconditional-image-generation" if images else None,
        "tags": ["gan", LIBRARY, info.name],
        "datasets": [source.removeprefix("hub:")] if source.startswith("hub:") else None,
    }
    size = " x ".join(map(str, info.shape))
    kind = kind_of(info.shape)
    trained = f", {1000 * info.kimg:,.0f} {kind}" if info.kimg else ""
    on = plain(info.data.name) if info.data and info.data.name else "data that its file does not name"
    made = (
        f"read from a file of {plain(info.source)}"
        if info.source
        else f"trained with ganvas on {on}{trained}"
    )
    names = class_names(model) if info.num_classes else None
    shown = f": {', '.join(map(plain, names[:SHOWN_CLASSES]))}" if names else ""
    parts = [
        front_matter(fields),
        f"# {repo.split('/')[1] if repo else _title(info)}",
        f"A generator of the family {plain(info.name)}: z of {info.latent_dim} numbers -> "
        f"{kind} of {size}, {parameters:,} parameters, {made}.",
        f"It draws {counted(info.num_classes, 'class', 'classes')}{shown}." if info.num_classes else "",
        f'```python\nimport ganvas\n\nmodel = ganvas.load("hub:{repo or PLACE}")\nsamples = model.sample(16, seed=0)\n```',
        f"![The first samples of seed 0, none chosen]({SAMPLES})",
        f"![From one latent to another, row by row]({WALK})" if images else "",
        "## Measured",
        _table(rows, kind),
        *_gives_away(info),
        "## How it was trained",
        _settings(info),
        *(f"- {plain(note)}" for note in info.notes),
        "" if license else "No licence is named: ask its owner before you use it.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(info: ModelInfo) -> str:
    """Of a card that has no name on the hub yet."""
    data = info.data.name if info.data else ""
    return plain(f"{info.name}, trained on {data}" if data else info.name)


def _table(rows: list[Row], kind: str) -> str:
    if not rows:
        return "Nothing: this snapshot has no figures."
    lines = [
        "| metric | value | floor | samples | features | reference |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        floor = "not measured" if row.floor is None else f"{row.floor:.4g} (N={row.floor_n:,})"
        reference = f"{plain(Path(row.reference).name)}, {row.reference_n:,} {kind}"
        reference += f"; {row.classes}" if row.classes else ""
        lines.append(
            f"| {plain(row.label)} | {row.value:.4g} | {floor} | {row.n:,} | {plain(row.extractor)} | {reference} |"
        )
    lines.append("\nThe floor is what held-out real images score against the same reference, N of them.")
    return "\n".join(lines)


def _gives_away(info: ModelInfo) -> list[str]:
    """What bounds its knowledge of a sample, and what an audit found; nothing where neither is known."""
    lines = []
    if info.privacy is not None:
        lines.append(
            f"Trained with a guarantee: {info.privacy} for any one sample of the data. Choosing it among others by the data "
            "is not counted."
        )
    if info.audit is not None:
        rows = [
            f"| {plain(name)} | {a:.3f} | {b:.3f} | {c:.3f} |"
            for name, (a, b, c) in info.audit.attacks.items()
        ]
        lines += [
            f"`ganvas audit` on {info.audit.samples:,} samples: {plain(info.audit)}.",
            "\n".join(["| attack | AUC | from | to |", "| --- | ---: | ---: | ---: |", *rows]),
        ]
    return ["## What it gives away of its data", *lines] if lines else []


def _settings(info: ModelInfo) -> str:
    config = info.training
    if config is None:
        return "Its file does not say."
    t, method = config.training, config.method.name
    facts: dict[str, object] = {"preset": config.preset, "method": method}
    if method not in methods or methods.get(method).has_loss:
        penalties = [str(each.get("name")) for each in to_dict(config)["objective"]["penalties"]]
        facts |= {"loss": config.objective.loss, "penalties": ", ".join(penalties) or "none"}
    facts |= {"batch": t.batch, "seed": t.seed, "precision": t.precision}
    return "\n".join(
        ["| | |", "| --- | --- |", *(f"| {name} | {plain(value)} |" for name, value in facts.items())]
    )
