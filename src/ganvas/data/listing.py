"""Which pictures lie in a folder or a .zip, and what else does: nothing is left out without a word."""

import heapq
import os
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ganvas.data.decode import MAX_BYTES, SUFFIXES
from ganvas.data.labels import natural, shorten
from ganvas.data.limits import check_growth, limit
from ganvas.errors import GanvasError, counted, printable
from ganvas.runs import is_run

DOCUMENT = "dataset.json"
"""Where StyleGAN's data sets keep their labels."""
OTHER_PICTURES = {
    ".heic",
    ".heif",
    ".avif",
    ".psd",
    ".svg",
    ".raw",
    ".cr2",
    ".nef",
    ".dng",
    ".jp2",
    ".jxl",
    ".exr",
    ".ico",
}
NOT_MEANT = {"__MACOSX", "@eaDir"}
"""Folders that a Mac or a network drive adds."""
MAX_RATIO = 200
"""Of unpacked to packed size of a member of a .zip; photographs stay near 1."""
SMALL = 2**24
"""Bytes up to which that ratio does not matter: a drawing of one colour has a high one."""
DIRECTORY_ENTRY = 80
"""Bytes of a usual entry in the directory of a .zip."""
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How a member may be packed: of these alone zipfile unfolds no more than is asked for."""

NOUNS = ("link", "folder", "member")
"""First words of kinds that have a plural; the others are suffixes and adjectives."""


@dataclass
class Listing:
    """What was found below a folder or in a .zip."""

    pictures: list[str] = field(default_factory=list)
    """Their paths in it, sorted."""
    document: bool = False
    """StyleGAN's dataset.json is there."""
    others: dict[str, list[str]] = field(default_factory=dict)
    """Kind -> what is left out."""
    outside: list[str] = field(default_factory=list)
    """Pictures and folders that are links to somewhere else."""

    def leave_out(self, kind: str, name: str) -> None:
        """Count something that is no picture to be read."""
        self.others.setdefault(kind, []).append(name)

    def add(self, name: str) -> None:
        """Sort in a file."""
        suffix = PurePosixPath(name).suffix.lower()
        if name == DOCUMENT:
            self.document = True
        elif suffix in SUFFIXES:
            self.pictures.append(name)
        else:
            self.leave_out(suffix[:12] or "without a suffix", name)

    def notes(self) -> tuple[str, ...]:
        """What was left out, counted and named by kind; and what lies elsewhere."""
        return (*self._left_out(), *self._elsewhere())

    def _elsewhere(self) -> tuple[str, ...]:
        if not self.outside:
            return ()
        which = f"{counted(len(self.outside), 'link')} ({shorten(sorted(self.outside), 2)})"
        return (
            f"Read through {which} to outside of the folder: see that you meant it, in a folder from somebody else.",
        )

    def _left_out(self) -> tuple[str, ...]:
        if not self.others:
            return ()
        kinds = sorted(self.others.items(), key=lambda item: (-len(item[1]), item[0]))
        words = [f"{_amount(len(names), kind)} ({shorten(sorted(names), 2)})" for kind, names in kinds]
        note = f"Left out: {'; '.join(words[:8])}" + (
            f"; {counted(len(words) - 8, 'more kind')}" if len(words) > 8 else ""
        )
        unread = sorted(OTHER_PICTURES & set(self.others))
        return (note + (f". Save {shorten(unread)} as PNG or JPEG to have them read." if unread else "."),)


def _amount(count: int, kind: str) -> str:
    """`1 link to nothing`, `2 links to nothing`; `2 hidden`, `2 .txt`."""
    noun, space, rest = kind.partition(" ")
    return f"{counted(count, noun)}{space}{rest}" if noun in NOUNS else f"{count:,} {kind}"


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name is not meant to be seen."""
    return part.startswith(".") or part in NOT_MEANT


def _holds_run(folder: Path) -> bool:
    return is_run(folder) and (folder / "snapshots").is_dir()


def in_folder(root: Path) -> Listing:
    """Every file below `root`. Links are followed once, after everything that is really there; loops are refused.

    Runs are left out: `ganvas train .` makes one there, whose previews it would train on the next time, and never resume.
    Raises `GanvasError` for one that is `root` itself.
    """
    if _holds_run(root):
        raise GanvasError(
            f"{root} is a run, whose pictures are previews and no data. Give the data themselves, as a folder, .zip or name. "
            f"To go on with the run: ganvas train --resume {root}"
        )
    found, links, home = Listing(), list[tuple[str, str]](), root.resolve()
    seen = {_identity(root)}

    def note(name: str) -> None:
        if not (root / name).resolve().is_relative_to(home):
            found.outside.append(name)

    def walk(start: str) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            try:
                if folder and _holds_run(root / folder):
                    found.leave_out("folder of a run", folder)
                    continue
                entries = list(os.scandir(root / folder))
            except OSError as error:
                found.leave_out(f"folder that cannot be opened: {error.strerror}", folder or ".")
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    sort_in(entry, name, waiting)
                except OSError as error:  # a loop of links, or gone meanwhile
                    found.leave_out(f"link or folder that cannot be opened: {error.strerror}", name)

    def sort_in(entry: os.DirEntry[str], name: str, waiting: list[str]) -> None:
        if is_hidden(entry.name):
            found.leave_out("hidden", name)
        elif entry.is_symlink() and entry.is_dir():
            heapq.heappush(links, (natural(name), name))
        elif entry.is_dir(follow_symlinks=False):
            seen.add(_identity(root / name))
            waiting.append(name)
        elif entry.is_file():
            found.add(name)
            if entry.is_symlink() and name in found.pictures[-1:]:
                note(name)
        else:
            found.leave_out("link to nothing" if entry.is_symlink() else "neither file nor folder", name)

    walk("")
    while links:
        _, name = heapq.heappop(links)
        identity = _identity(root / name)
        if identity in {_identity(folder) for folder in (*(root / name).parents, *root.resolve().parents)}:
            raise GanvasError(
                f"{root / name} is a link to a folder that it lies in: a loop. Remove the link."
            )
        if identity in seen:
            found.leave_out("link to a folder that is read already", name)
            continue
        seen.add(identity)
        note(name)
        walk(name)
    found.pictures.sort()
    return found


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a member unfolds to more than a picture may."""
    packed = max(member.compress_size, 1)
    large = member.file_size > SMALL and member.file_size > MAX_RATIO * packed
    return large or member.file_size > MAX_BYTES


def in_zip(path: Path) -> Listing:
    """Every member of a .zip. Hostile ones are refused: names that point outside, and more than the limits allow."""
    found = Listing()
    wanted: list[zipfile.ZipInfo] = []
    with open_zip(path) as file:
        members = file.infolist()
    for member in members:
        name = member.filename.replace("\\", "/")
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or ":" in name:
            raise GanvasError(
                f"{path} is refused: its member {member.filename[:200]!r} points outside of the archive."
            )
        if not name or name.endswith("/"):
            continue
        hidden = next((i for i, part in enumerate(parts.parts) if is_hidden(part)), None)
        if hidden is not None:
            found.leave_out("hidden", "/".join(parts.parts[: hidden + 1]))
        else:
            found.add(member.filename)
            if parts.suffix.lower() in SUFFIXES or name == DOCUMENT:
                wanted.append(member)
    for member in wanted:
        if is_bomb(member):
            raise GanvasError(
                f"{path} is refused as a decompression bomb: {member.filename[:200]!r} unpacks {member.compress_size} bytes "
                f"to {member.file_size}. A picture may have {MAX_BYTES >> 20} MiB, and beyond {SMALL >> 20} MiB "
                f"{MAX_RATIO} times its packed size."
            )
    check_growth(
        sum(m.compress_size for m in wanted), sum(m.file_size for m in wanted), f"{path} is refused: it"
    )
    twice = [name for name, times in Counter(found.pictures).items() if times > 1]
    for name in twice:
        found.leave_out("member named as another", name)
    found.others = {
        kind: sorted(set(names)) if kind == "hidden" else names for kind, names in found.others.items()
    }
    found.pictures = sorted(set(found.pictures))
    return found


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a .zip whose directory is no larger than GANVAS_MAX_FILES allows, and whose members unfold to what they say."""
    try:
        size = _directory_size(path)
        if size > limit("GANVAS_MAX_FILES") * DIRECTORY_ENTRY:
            raise GanvasError(
                f"{path} is refused: its directory of {size / 1e6:,.0f} MB lists more than the {limit('GANVAS_MAX_FILES'):,.0f} "
                f"files that are taken. If it is yours, set GANVAS_MAX_FILES={size // DIRECTORY_ENTRY + 1}."
            )
        archive = zipfile.ZipFile(path)
        for member in archive.infolist():
            if member.compress_type not in BOUNDED:
                archive.close()
                raise GanvasError(
                    f"{path} is refused: its member {member.filename[:200]!r} is packed by method {member.compress_type}, which "
                    "may unfold to any size; expected 8 (deflate, which is usual) or 0. Pack it anew."
                )
        return archive
    except GanvasError:
        raise
    except Exception as error:  # zipfile raises many kinds for damaged files
        raise GanvasError(f"{path} is not a readable .zip file: {error}.") from error


def _directory_size(path: Path) -> int:
    """Bytes of the directory, from the records at the end (PKWARE's APPNOTE, 4.3.14 and 4.3.16); 0 where there are none."""
    with open(path, "rb") as file:
        # Where `zipfile` finds them: by another search a file may have one directory for us, and another for whoever unpacks it.
        found = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    return int(found[zipfile._ECD_SIZE]) if found else 0  # type: ignore[attr-defined]


def show(name: str) -> str:
    """A name from the disk as text for a line: bytes that are no UTF-8 are spelled out, and what could steer a terminal."""
    return printable(name.encode("utf-8", "backslashreplace").decode()).replace("\n", "\\n")
