"""`hub:org/name`: the training split of a Hugging Face data set (extra `hub`)."""

import os
import re
from array import array
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ganvas.config import DataConfig
from ganvas.data.base import Dataset, fingerprint
from ganvas.data.decode import Facts, decode, hush, white_among
from ganvas.data.fitted import gathered
from ganvas.data.folder import FolderItems, looked, read_picture
from ganvas.data.labels import check_count
from ganvas.data.limits import memory_limit
from ganvas.data.listing import in_zip, is_bomb, open_zip, show
from ganvas.data.resize import plan
from ganvas.errors import GanvasError, install
from ganvas.series import check_names
from ganvas.types import Shape

README, YAML = "README.md", ".huggingface.yaml"
"""Where a data set says which files it is of."""
MEMBER = re.compile(r"zip://(.+?)::(.+)")
"""A picture in a .zip, as the library names it."""
LONGEST_README, LONGEST_PLACE, MOST_NAMED = 2**20, 4096, 10_000
GREY = ("1", "L")
"""Modes of pictures of one channel."""


class Archive(FolderItems):
    """The pictures of a .zip that rows name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, in_zip(path).pictures)
        with open_zip(path) as file:  # the library lists others, too: of other suffixes, in hidden folders
            self.fitting = frozenset(each.filename for each in file.infolist() if not is_bomb(each))

    def read_fitting(self, name: str) -> bytes:
        """The bytes of a picture. Raises `ValueError` for a member that unfolds to more than a picture may."""
        if name not in self.fitting:
            raise ValueError(
                "its archive has no such picture, or one that unfolds to more than a picture may"
            )
        return self.read(name)


class HubItems(FolderItems):
    """Images of a memory-mapped Arrow table, by their number, decoded when asked for: here, as files of a folder are. The library
    has other limits, and opens what a row says to be its file wherever that lies, also in the network."""

    def __init__(self, table: Any, source: str, homes: Sequence[Path]) -> None:
        super().__init__(Path(source), [str(i) for i in range(len(table))])
        self.table, self.source, self.homes = table, source, homes
        self.archives: dict[str, Archive] = {}

    def read(self, name: str) -> bytes:
        """The bytes of a picture. Raises `GanvasError` where a row has none, or a file that lies nowhere in `homes`."""
        (found,) = self.table[int(name)].values()
        row: dict[str, Any] = found or {}
        content, path = row.get("bytes"), row.get("path")
        if content is None:
            if path is None:
                raise GanvasError(f"Row {name} of {self.source} has no picture; it cannot be taken.")
            member, archive = found.groups() if (found := MEMBER.fullmatch(path)) else ("", path)
            if not _lies_in(archive, self.homes):
                raise GanvasError(
                    f"Row {name} of {self.source} names a file outside of the data set, {show(path[:200])}; it is not opened."
                )
            if member:
                return self._archive(archive).read_fitting(member)
            content = read_picture(Path(os.path.abspath(path)))
            self.bytes += len(content)
        return cast(bytes, content)

    def _archive(self, name: str) -> Archive:
        """A .zip of the data set, with the limits of others."""
        if name not in self.archives:
            path = Path(os.path.abspath(name))
            self.archives[name] = Archive(path)
            self.bytes += path.stat().st_size
        return self.archives[name]

    def bytes_of_all(self) -> int:
        """That they take on the disk: in the table, and in the files that its rows name, as far as they were read."""
        return int(self.table.data.nbytes) + self.bytes


def _lies_in(path: str, folders: Sequence[Path]) -> bool:
    """Whether it is a file in one of them, itself and what a link leads to; an address, as of a member of a .zip, is none."""
    places = [Path(os.path.abspath(path)), Path(path).resolve()]
    own = [any(place.is_relative_to(folder) for folder in folders) for place in places]
    return all(own) and "://" not in path and "::" not in path


def _given(name: str) -> list[Path]:
    """The folder of that name, as it is called and where it is; none for a data set of the hub."""
    return [Path(os.path.abspath(name)), Path(name).resolve()] if os.path.isdir(name) else []


def _check_named(source: str) -> None:
    """Raise `ValueError` where a folder says that its tables lie elsewhere: the library asks there before it says so."""
    homes = _given(source)
    if not homes:
        return
    folder = homes[0]
    for name in (README, YAML):
        path = folder / name
        if not path.is_file():
            if name == YAML and path.exists():  # which the library opens, and waits, or reads without end
                raise ValueError(f"its {name} is no file; remove it")
            continue
        if path.stat().st_size > LONGEST_README:
            raise ValueError(f"its {name} has more than {LONGEST_README:,} bytes")
        said: Any = _described(path)
        configs: Any = said.get("configs") if hasattr(said, "get") else None
        for config in configs if isinstance(configs, list) else []:
            if not isinstance(config, dict):
                continue
            given = config.get("data_dir")
            base = given if isinstance(given, str) else ""
            for place in dict.fromkeys([base, *_texts(config.get("data_files"), name)]):
                if len(place) > LONGEST_PLACE:  # to follow it takes a step for each folder
                    raise ValueError(f"its {name} names a file by more than {LONGEST_PLACE:,} letters")
                if "://" in place or "::" in place or not _lies_in(str(folder / base / place), homes):
                    raise ValueError(
                        f"it names a file outside of itself, {show(place[:200])}, which is not opened"
                    )


def _described(path: Path) -> Any:
    """As the library reads it: by a reader of our own another text between other lines might be meant."""
    if path.name == YAML:
        return import_module("yaml").safe_load(path.read_text("utf-8"))
    from huggingface_hub import DatasetCard

    return DatasetCard.load(path).data


def _texts(value: Any, name: str) -> list[str]:
    """All texts in lists and objects, which may hold themselves, and each other many times."""
    found, waiting = list[str](), [value]
    for _ in range(MOST_NAMED):
        if not waiting:
            return found
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict | list):
            waiting += each.values() if isinstance(each, dict) else each
        if len(waiting) > MOST_NAMED:
            break
    raise ValueError(f"its {name} names more than {MOST_NAMED:,} files")


def _check_places(builder: Any, name: str) -> None:
    """Raise `ValueError` where a data set says that its tables lie elsewhere: in files of this machine, at other addresses."""
    homes, remote = _given(name), f"hf://datasets/{builder.repo_id or name}@"
    for files in (builder.config.data_files or {}).values():
        for each in map(str, files):
            if not (_lies_in(each, homes) if homes else each.startswith(remote)):
                raise ValueError(
                    f"it names a file outside of itself, {show(each[:200])}, which is not opened"
                )


def _sound(source: str, name: str, content: bytes, found: Facts | str) -> Facts:
    if isinstance(found, str):
        raise GanvasError(f"Picture {name} of {source} cannot be read: {found}.")
    return found


def _homes(hub: Any, builder: Any, name: str) -> list[Path]:
    """Where files of a data set may lie that are no part of its table: what was fetched of it, or a folder that is given."""
    from huggingface_hub.constants import HF_HUB_CACHE

    config = hub.config
    folders = [
        os.path.join(HF_HUB_CACHE, f"datasets--{builder.repo_id or name}".replace("/", "--")),
        config.HF_DATASETS_CACHE,
        config.DOWNLOADED_DATASETS_PATH,
        config.EXTRACTED_DATASETS_PATH,
    ]
    fetched = [each for folder in folders for each in (Path(os.path.abspath(folder)), Path(folder).resolve())]
    return fetched + _given(name)


def load(config: DataConfig, shape: Shape | None = None) -> Dataset:
    """The first image column and, when there is one, the first class column; brought to `shape` where one is given."""
    try:
        import datasets as hub
    except ImportError as error:
        raise GanvasError(f"hub: data sets need an extra package. Type: {install('hub')}") from error
    name = config.source.removeprefix("hub:")
    try:
        _check_named(name)
        builder = hub.load_dataset_builder(name)
        _check_places(builder, name)
        builder.download_and_prepare()
        table = builder.as_dataset(split="train")
    except Exception as error:  # the library raises many kinds: not found, no network, no such split
        why = f" ({error.__cause__})" if error.__cause__ is not None else ""
        raise GanvasError(f"Could not open {config.source}: {error}{why}") from error
    features = table.features
    image = next((key for key, kind in features.items() if isinstance(kind, hub.Image)), None)
    label = next((key for key, kind in features.items() if isinstance(kind, hub.ClassLabel)), None)
    if image is None:
        raise GanvasError(f"{config.source} has no image column; its columns are {', '.join(features)}.")
    if not len(table):
        raise GanvasError(f"The training part of {config.source} is empty.")
    given = list(table[label]) if label else []
    if any(each is None or each < 0 for each in given):
        raise GanvasError(
            f"{config.source} has pictures without a label (-1, or none) in its training part; it cannot be taken."
        )
    if label and given and max(given) >= len(features[label].names):
        raise GanvasError(
            f"{config.source} is damaged: it holds the label {max(given)} of {len(features[label].names)} classes."
        )
    names = tuple(show(each) for each in features[label].names) if label else ()
    check_count(len(given), len(names), config.source)
    check_names(names, f"{config.source}: the names of classes")
    kind, homes = features[image], _homes(hub, builder, name)
    # Of other columns the library would decode what lies there, too.
    bare = table.select_columns([image]).cast_column(image, hub.Image(decode=False))
    items: Any = HubItems(bare, config.source, homes)
    with hush():
        facts = [_sound(config.source, *each) for each in looked(items)]
        first = kind.mode or decode(items.read("0")).mode
    deep = any(fact.deep for fact in facts)
    grey = shape[0] == 1 if shape else first in GREY if kind.mode else all(fact.grey for fact in facts)
    alpha = shape[0] == 4 if shape else config.alpha
    mode = "RGBA" if alpha else "L" if grey else "RGB"
    size, how, notes = plan([fact.size for fact in facts], config, shape)
    white, marks = config.white or white_among(facts), [f"{size} {how}"]
    # Of the first picture alone it was told what all are, and in that mode they have no mark.
    marks += [mode] if mode != ("L" if first in GREY else "RGB") else []
    marks += [f"white {white:g}"] if deep else []
    items.mode, items.size, items.how, items.white = mode, size if how else None, how, white
    items.checksums = array("I", (fact.checksum for fact in facts))
    shape = tuple(items[0].shape)
    if int(np.prod(shape)) * len(items) <= memory_limit():
        items = gathered(items)
    return Dataset(
        name=name.split("/")[-1],
        items=items,
        shape=shape,
        fingerprint=fingerprint(str(table._fingerprint), *marks),
        labels=torch.tensor(given) if label else None,
        class_names=names,
        notes=notes,
        white=white if deep else None,
    )
