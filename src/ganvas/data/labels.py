"""Which class a sample is of: from numbers or names beside the samples, from sub-folders, or from StyleGAN's dataset.json."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.data.limits import limit
from ganvas.errors import GanvasError, counted, printable
from ganvas.series import check_names

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
"""Folders of these names hold parts of one set, and the classes lie below them."""
STRAY_SHARE = 0.1
"""Pictures beside the class folders are left out up to this share of all; more mean that the folders are no classes."""


@dataclass(frozen=True)
class Labelling:
    """The class of each picture of a folder or .zip."""

    names: tuple[str, ...]
    """Pictures that belong to the data set, in order."""
    classes: tuple[str, ...] | None
    """Name of the class of each; None: no labels."""
    notes: tuple[str, ...] = ()
    mark: bool = False
    """True when the labels do not follow from the names of the files alone, and belong into the fingerprint."""


def natural(name: str) -> str:
    """Sort key that puts 2 before 10: the text with the length of each number before it, numbers before other text."""

    def told(part: re.Match[str]) -> str:
        digits = (part[1] or "").lstrip("0")
        return f"\1{len(digits):06}{digits}" if part[1] else f"\2{part[0]}"

    return re.sub("([0-9]+)|[^0-9]+", told, name) + f"\0{name}"


def number(
    values: "np.ndarray | Sequence[str]", where: str
) -> tuple[Tensor, tuple[str, ...], tuple[str, ...]]:
    """Labels (N,), whole numbers from 0 or names, as class numbers int64 (N,), names of the classes, and what to say.

    Classes are the values that occur, in their order. Raises `GanvasError` for anything else, and for more classes than
    GANVAS_MAX_CLASSES.
    """
    if not isinstance(values, np.ndarray):
        # Of the names that there are: an array of all of them would have room for the longest in every row.
        kinds = list(dict.fromkeys(values))
        check_count(len(values), len(kinds), where)
        check_names(kinds, f"{where}: the names of classes")
        made = number(np.array(kinds, dtype=str), where)
        known = dict(zip(kinds, made[0].tolist(), strict=True))
        return torch.tensor([known[value] for value in values]), made[1], made[2]
    array = values
    if array.dtype.kind not in "biuU" or (array.dtype.kind == "i" and array.size and array.min() < 0):
        lowest = f" from {array.min()}" if array.dtype.kind == "i" else ""
        raise GanvasError(
            f"{where}: labels must be whole numbers from 0 or names, got {array.dtype}{lowest}. "
            "Write one whole number for each sample: labels.astype(int); of one-hot rows labels.argmax(1)."
        )
    found, inverse = np.unique(
        array.astype(np.uint64) if array.dtype.kind == "b" else array, return_inverse=True
    )
    check_count(array.size, len(found), where)
    spelled = [str(value) for value in found.tolist()]
    check_names(spelled, f"{where}: the names of classes")
    names = [printable(value).replace("\n", "\\n") for value in spelled]
    order = sorted(range(len(names)), key=lambda i: natural(names[i]))
    place = torch.empty(len(names), dtype=torch.int64)
    place[torch.tensor(order, dtype=torch.int64)] = torch.arange(len(names))
    classes = tuple(names[i] for i in order)
    notes: tuple[str, ...] = ()
    if array.dtype.kind != "U" and classes != tuple(map(str, range(len(classes)))):
        notes = (
            f"Labels {shorten(classes)} become classes 0 to {len(classes) - 1} that keep these names: "
            "--labels takes them as they were.",
        )
    return place[torch.from_numpy(inverse.reshape(-1).astype(np.int64))], classes, notes


def check_count(labels: int, kinds: int, where: str) -> None:
    """Raise `GanvasError` for more classes than GANVAS_MAX_CLASSES."""
    most = limit("GANVAS_MAX_CLASSES")
    if kinds > most:
        raise GanvasError(
            f"{where}: {labels:,} labels of {kinds:,} different values, more than {most:,.0f} classes. Are these "
            f"measurements? Bin them, omit them, or set GANVAS_MAX_CLASSES={kinds}."
        )


def shorten(names: Sequence[str], most: int = 6) -> str:
    """A list for people: the first few, and how many more."""
    listed = ", ".join(names[:most])
    return f"{listed} and {len(names) - most:,} more" if len(names) > most else listed


def by_folder(names: Sequence[str]) -> Labelling:
    """Sub-folders as classes: below one root folder, next to a few stray pictures, below train and test."""
    folders = {name: tuple(name.replace("\\", "/").split("/")[:-1]) for name in names}
    inside, stray, depth = list(names), list[str](), 0
    while True:
        loose = [name for name in inside if len(folders[name]) == depth]
        inside = [name for name in inside if len(folders[name]) > depth]
        stray += loose
        heads = {folders[name][depth] for name in inside}
        if len(heads) != 1:
            break
        depth += 1
    if not heads:
        return Labelling(tuple(names), None)
    if len(stray) > STRAY_SHARE * len(names):
        lie = "lies" if len(stray) == 1 else "lie"
        why = (
            f"{len(stray):,} of {len(names):,} pictures {lie} beside the {len(heads)} sub-folders, "
            "which are therefore no labels."
        )
        return Labelling(
            tuple(names), None, (f"{why} Move every picture into the folder of its class to have them.",)
        )
    notes = []
    split = {head.lower() for head in heads} <= SPLITS
    if split:
        if any(len(folders[name]) == depth + 1 for name in inside):
            why = f"{shorten(sorted(heads))} are taken as parts of one set and not as classes."
            return Labelling(tuple(names), None, (f"{why} Give one of them alone to use it alone.",))
        notes.append(
            f"The folders {shorten(sorted(heads))} are taken as parts of one set; its labels lie below them."
        )
        depth += 1
    if stray:
        lie = "lies" if len(stray) == 1 else "lie"
        notes.append(
            f"Left out {len(stray):,} of {len(names):,} pictures, which {lie} beside the class folders: {shorten(stray, 3)}."
        )
    classes = tuple(folders[name][depth] for name in inside)
    if len(set(classes)) < 2:
        return Labelling(tuple(inside), None, tuple(notes))
    if depth and not split:
        notes.append(
            f"Labels are the {len(set(classes))} folders below {'/'.join(folders[inside[0]][:depth])}: "
            f"{shorten(sorted(set(classes), key=natural))}."
        )
    # Plainly sorted classes of the first level were numbered so before there was a natural order.
    mark = split or sorted(set(classes)) != sorted(set(classes), key=natural)
    return Labelling(tuple(inside), classes, tuple(notes), mark=mark)


def by_document(names: Sequence[str], document: Any, where: str) -> Labelling:
    """StyleGAN's dataset.json: `labels` is a list of [name, number], or null. Folders are mere compartments there."""
    if not isinstance(document, dict):
        raise GanvasError(f"{where} is damaged: expected a JSON object with labels.")
    given = document.get("labels")
    if given is None:
        return Labelling(tuple(names), None, (f"{where} has no labels, so the folders are none either.",))
    try:
        said = [(str(name).replace("\\", "/"), label) for name, label in given]
    except (TypeError, ValueError) as error:
        raise GanvasError(f"{where} is damaged: labels must be a list of [file name, number].") from error
    for _, label in said:
        if type(label) is not int or not 0 <= label < 2**53:
            raise GanvasError(f"{where} has the label {str(label)[:60]}; expected whole numbers from 0.")
    pairs = dict(said)
    twice = next((name for name, label in said if pairs[name] != label), None)
    if twice is not None:
        raise GanvasError(f"{where} gives {twice[:60]!r} two labels; expected one. Delete the wrong one.")
    kept = [name for name in names if name.replace("\\", "/") in pairs]
    missing = [name for name in names if name.replace("\\", "/") not in pairs]
    if len(missing) > STRAY_SHARE * len(names):
        raise GanvasError(
            f"{where} has no label for {len(missing):,} of {len(names):,} pictures: {shorten(missing, 3)}. "
            "Complete it, or remove it to do without labels."
        )
    notes = [f"Labels are those of {where}."]
    if missing:
        notes.append(
            f"Left out {counted(len(missing), 'picture')} that it does not name: {shorten(missing, 3)}."
        )
    classes = tuple(str(pairs[name.replace("\\", "/")]) for name in kept)
    return Labelling(tuple(kept), classes, tuple(notes), mark=True)
