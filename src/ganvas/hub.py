"""Models on the Hugging Face hub: `hub:org/name`, `hub:org/name@revision` (extra `hub`).

The folder is a snapshot's: `generator.safetensors`, perhaps `critic.safetensors` and `encoder.safetensors`, and `config.json`,
which says which of them there are, and that ganvas wrote it. These names are all that is asked for: nothing in a stranger's
folder chooses a file or a path, and nothing of it is run.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganvas import io
from ganvas.cache import PAUSE, SLOWEST, cache_folder
from ganvas.errors import GanvasError, install, printable
from ganvas.signals import in_a_thread

PREFIX = "hub:"
CONFIG, CARD = "config.json", "README.md"
GENERATOR = "generator.safetensors"
BESIDE = {"critic": "critic.safetensors", "encoder": "encoder.safetensors"}
"""What a config.json may say that there is besides."""
LIBRARY = "ganvas"
LONGEST_CONFIG = io.LONGEST
"""Bytes of a config.json that is fetched: names of classes and columns may take millions."""
BUSY = 429
"""Status from which a server cannot answer now: too many requests, 500 and more."""
PATIENCE = 5.0
"""Seconds in which the hub must answer at all."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
COMMIT = re.compile("[0-9a-f]{40}")


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether this names a model on the hub."""
    return os.fspath(path).startswith(PREFIX)


def check_name(repo: str) -> str:
    """`repo`; raises `GanvasError` unless it is `org/name`."""
    if not re.fullmatch(f"{NAME}/{NAME}", repo) or ".." in repo or "--" in repo:
        raise GanvasError(
            f"{repo!r} is no name on the hub; give org/name, of letters, digits, - _ and single dots."
        )
    return repo


def parse(address: str) -> tuple[str, str | None]:
    """`hub:org/name[@revision]` -> the name and the revision. Raises `GanvasError` for anything else."""
    repo, at, revision = address.removeprefix(PREFIX).partition("@")
    if at and (not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", revision) or ".." in revision):
        raise GanvasError(f"{revision!r} is no revision; give a commit, a tag or a branch: hub:{repo}@main.")
    return check_name(repo), revision or None


def client() -> Any:
    """The hub's own package; raises `GanvasError` that says how to install it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise GanvasError(f"hub: models need an extra package. Type: {install('hub')}") from error
    return huggingface_hub


def explained(error: Exception, repo: str) -> GanvasError:
    """What went wrong between here and the hub, in words."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    why = printable((str(error).strip() or type(error).__name__).split("\n")[0].rstrip("."))
    if "RepositoryNotFoundError" in kinds:
        return GanvasError(
            f"There is no {repo} on the hub, or it is not open to you. If it is private: hf auth login, or set HF_TOKEN."
        )
    if "RevisionNotFoundError" in kinds:
        return GanvasError(f"{repo} has no such revision. Give a commit, a tag or a branch.")
    if "RemoteEntryNotFoundError" in kinds:
        return GanvasError(
            f"{repo} is not a model that ganvas exported: it holds no {CONFIG} or {GENERATOR}."
        )
    if "LocalTokenNotFoundError" in kinds:
        return GanvasError("Nobody is logged in to the hub. Type: hf auth login, or set HF_TOKEN.")
    return GanvasError(
        f"Could not reach {repo} on the hub: {why}. A model that was fetched before opens without a network."
    )


def kept_in(address: str) -> Path:
    """The folder of the cache that holds what was fetched of a model."""
    return cache_folder() / "hub" / f"models--{parse(address)[0].replace('/', '--')}"


def fetch(address: str, most: float) -> Path:
    """The generator's file of a model on the hub, from the cache if it is there; its critic and encoder, if any, come beside it.

    Without a revision the commit counts that was the newest when the model was first fetched, until `@main` is asked for.
    No file above `most` bytes is fetched. Raises `GanvasError` for what cannot be reached, and what ganvas did not export.
    """
    repo, revision = parse(address)
    cache, library = cache_folder() / "hub", client()

    def kept(name: str, at: str | None) -> Path | None:
        found = library.try_to_load_from_cache(repo, name, cache_dir=cache, revision=at)
        return Path(found) if isinstance(found, str) else None

    def get(name: str, at: str | None, limit: float) -> Path:
        where: dict[str, Any] = {"revision": at, "cache_dir": cache}
        size = in_a_thread(
            lambda: library.hf_hub_download(repo, name, dry_run=True, **where), PAUSE
        ).file_size
        if size is None or size > limit:
            said = "an unknown size" if size is None else f"{size / 1e6:,.1f} MB"
            raised = " If you trust it: set GANVAS_MAX_GB." if limit == most else ""
            raise GanvasError(
                f"{name} of {repo} has {said}; what has more than {limit / 1e6:,g} MB is not fetched.{raised}"
            )
        bar = _stopping(library.utils.tqdm, f"{name} of {repo}", size)
        last = PAUSE + size / SLOWEST
        # The client counts its seconds from byte to byte: a server that sends one now and then would be waited for all day.
        return Path(in_a_thread(lambda: library.hf_hub_download(repo, name, tqdm_class=bar, **where), last))

    def whole(at: str | None) -> Path | None:
        config, weights = kept(CONFIG, at), kept(GENERATOR, at)
        if config is None or weights is None or not all(kept(name, at) for name in _beside(config, repo)):
            return None
        return weights

    pinned = revision is None or COMMIT.fullmatch(revision)
    if pinned and (found := whole(revision)):
        return found
    try:
        commit = _commit(library, repo, revision)
    except GanvasError:
        raise
    except Exception as error:  # of several libraries below the client
        status = getattr(getattr(error, "response", None), "status_code", BUSY)
        with suppress(GanvasError):
            if not pinned and status >= BUSY and (found := whole(revision)):
                return found  # no network, or no hub in it: what was fetched for this tag or branch
        raise explained(error, repo) from error
    try:
        # By the commit: the client itself would move the name to it with the first file, before the others are there.
        beside = _beside(get(CONFIG, commit, LONGEST_CONFIG), repo)
        weights = get(GENERATOR, commit, most)
        for name in beside:
            get(name, commit, most)
    except GanvasError:
        raise
    except Exception as error:
        raise explained(error, repo) from error
    if commit != revision:
        with suppress(OSError, GanvasError):  # where the cache is not to be written, it is asked for again
            io.write_bytes(kept_in(address) / "refs" / (revision or "main"), commit.encode())
    return weights


def _stopping(bar: Any, name: str, size: int) -> Any:
    """The client's bar of progress, which ends a download of more than `size` bytes: the client itself looks at the end."""

    had = 0

    def update(self: Any, n: int) -> Any:
        nonlocal had
        had += n
        if had > size:
            raise GanvasError(f"{name} goes on after the {size:,} bytes that were announced.")
        return bar.update(self, n)

    return type("Stopping", (bar,), {"update": update})


def _commit(library: Any, repo: str, revision: str | None) -> str:
    """The commit that a revision names now; raises what the network raises at once.

    For a file, the client asks six times, for 23 seconds, before it says so.
    """
    url = library.hf_hub_url(repo, CONFIG, revision=revision)
    found = in_a_thread(lambda: library.get_hf_file_metadata(url, timeout=PATIENCE), 3 * PATIENCE).commit_hash
    if not COMMIT.fullmatch(str(found)):
        # The page of a hotel's network, say.
        raise ConnectionError("what answers names no commit, as a hub does")
    return str(found)


def _beside(config: Path, repo: str) -> list[str]:
    """The files that a config.json says there are beside the generator's; raises `GanvasError` unless ganvas wrote it."""
    found = io.read_json(config, longest=LONGEST_CONFIG)
    if found.get("library_name") != LIBRARY:
        raise GanvasError(f"{repo} is not a model that ganvas exported: its {CONFIG} does not say so.")
    return [file for name, file in BESIDE.items() if found.get(name) is True]
