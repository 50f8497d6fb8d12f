"""Where the calibrated ratio and the recommended setting of a model are kept."""

from pathlib import Path

from ganvas import io
from ganvas.cache import cache_folder
from ganvas.checkpoint import OLD_DIGITS
from ganvas.config import from_dict
from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.runs import check_beside, check_own
from ganvas.sampling.settings import Setting, check_kept


def home_of(model: Model) -> Path:
    """Where ratios and recommendations of a model are kept: `sampling/` of its run, else in the user's cache.

    A folder of a run that is a link to elsewhere is not the run's. The cache is of all models, so that it knows one by more than
    its weights.
    """
    path = model.path
    if path is not None:
        for parent in list(path.resolve().parents)[:3]:
            if (parent / "config.json").is_file() and (parent / "snapshots").is_dir():
                home = _named(parent / "sampling", model.hash)
                if home.resolve().is_relative_to(parent):
                    return home
                break
    return _cached(model)


def _cached(model: Model) -> Path:
    return cache_folder() / "sampling" / model.key


def _named(folder: Path, own: str) -> Path:
    """The folder of a model in `folder` of its run: by its hash, or by the shorter one of before where that is there alone."""
    new, old = folder / own, folder / own[:OLD_DIGITS]
    return old if old.is_dir() and not new.is_dir() else new


def kept_ratio(model: Model) -> Path:
    """Where the calibrated ratio of a model is read from: that of `ganvas calibrate`, else the one packaged with the model.

    Raises `GanvasError` for one that lies behind a link to elsewhere.
    """
    mine = home_of(model) / "ratio.safetensors"
    beside = model.path.with_name("ratio.safetensors") if model.path is not None else mine
    if mine.is_file() or not beside.is_file():
        return _own(mine, model)
    assert model.path is not None
    check_beside(beside, model.path)
    return beside


def _own(path: Path, model: Model) -> Path:
    """A file of the `home_of` a model. Raises `GanvasError` where a link in its run leads out of it; the cache is the user's."""
    if path.exists() and path.parent != _cached(model):
        check_own(path, path.parents[2])
    return path


def best_of(model: Model) -> Setting:
    """The setting that `improve` recommended. Raises `GanvasError` when it was not run for this model."""
    return recommended(model)[0]


def recommended(model: Model) -> tuple[Setting, str]:
    """`best_of`, and the mark of the ratio that it was found with: "" of a recommendation of before."""
    path = _own(home_of(model) / "improve.json", model)
    if not path.is_file():
        raise GanvasError(
            f"No recommendation is kept for this model. Run: ganvas improve {model.place or 'MODEL'}"
        )
    try:
        kept = io.read_json(path)
        mark = kept.get("ratio", "")
        return check_kept(from_dict(Setting, kept["best"], "best")), mark if isinstance(mark, str) else ""
    except (KeyError, GanvasError) as error:
        told = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise GanvasError(f"{path} is damaged: {told}. Run ganvas improve again.") from error
