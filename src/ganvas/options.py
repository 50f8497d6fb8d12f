"""What one asks of a training: every field is a flag of `ganvas train` and a keyword of `ganvas.train`."""

import dataclasses
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ganvas.config import Resize
from ganvas.errors import GanvasError, expect
from ganvas.registry import did_you_mean

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""What is trained on: a name or a path, or several."""

SIMPLE: dict[Any, tuple[type, str]] = {
    str: (str, "a name"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    bool: (bool, "True or False"),
}
"""Types of options -> what is taken for one, and how a message calls it."""


def option(default: Any, text: str, resumable: str = "", also: str = "") -> Any:
    """A field with the text of its help.

    `resumable`: the path in a run's config with which it must agree beside `resume`; `also`: a second name of its flag.
    """
    return field(default=default, metadata={"help": text, "resumable": resumable, "also": also})


@dataclass(frozen=True)
class TrainOptions:
    """A request; whatever is left out comes from the preset. What it leads to is `ganvas.training.plan(data, options)`.

    Read in this order: the preset, then the family with its recipe, then the size, then everything else, `settings` last.
    """

    preset: str | None = option(
        None,
        "From `ganvas list presets`. Default: small for images, series for series, toy for points.",
        "preset",
    )
    method: str | None = option(
        None,
        "How: one of `ganvas list methods`, with the preset of its name unless another is given.",
        "method.name",
    )
    in_latent: str | None = option(
        None,
        "Train in the latent space of this autoencoder, a run, snapshot or file: samples decode to pictures.",
    )
    size: Literal["xs", "s", "m", "l"] | None = option(
        None, "Width of the networks: half (xs), as in the preset (s), double (m) or four times (l)."
    )
    kimg: float | None = option(None, "Stop after so many thousand images.")
    minutes: float | None = option(None, "Stop after so many minutes.")
    batch: int | None = option(None, "Images in a step.", "training.batch")
    seed: int | None = option(None, "Of weights, order and latents.", "training.seed")
    device: str | None = option(None, "auto, cpu, cuda or mps.")
    precision: str | None = option(
        None, "auto, fp32 or bf16; auto takes bf16 where the hardware has it.", "training.precision"
    )
    resolution: int | None = option(None, "Side of the images in pixels.")
    resize: Resize | None = option(None, "How images of other sizes get there.")  # noqa: RUF009
    height: int | None = option(
        None, "Height of images that are not square; --resolution is then their width."
    )
    alpha: bool = option(False, "Keep transparent parts as a fourth channel; else they become white.")
    mirror: bool = option(False, "Flip half of the images left-right.")
    balance: bool = option(False, "Show every class or data set equally often.")
    window: int | None = option(None, "Steps of the windows that series are cut into; 24 of one long series.")
    columns: tuple[str, ...] | None = option(
        None, "Columns of a table of series that are drawn; default: all."
    )
    time: str | None = option(None, "Its column of time; default: that of rising or falling ISO dates.")
    by: str | None = option(None, "Its column that tells one sequence from another.")
    static: tuple[str, ...] | None = option(
        None, "Columns that are constant in a sequence, drawn once beside it."
    )
    label: str | None = option(None, "The column with the class of a sequence, for --conditional.")
    network: str | None = option(
        None,
        "From `ganvas list networks`; brings the widths, loss and rates of its own preset.",
        "network.name",
    )
    loss: str | None = option(None, "From `ganvas list losses`.", "objective.loss")
    penalty: tuple[str, ...] | None = option(None, "One or more of `ganvas list penalties`, or none.")
    gamma: float | None = option(None, "Weight of r1, r2 and wgan-gp; other penalties keep theirs.")
    term: tuple[str, ...] | None = option(
        None,
        "One or more of `ganvas list terms`, with a weight or the usual one: mode-seeking or mode-seeking=0.2.",
    )
    conditional: bool = option(False, "Feed the labels to both networks, to draw chosen classes later.")
    augment: tuple[str, ...] | None = option(
        None,
        "diffaugment, ada, ada-diffaugment, apa, none, or some of `ganvas list augmentations`: for small data.",
    )
    private: bool = option(
        False,
        "The critic learns with noise, so that no single sample can be told from the model; preset private.",
    )
    epsilon: float | None = option(
        None, "Of --private: how much a sample may show; smaller is safer. 10 by default."
    )
    delta: float | None = option(None, "Of --private: chance that epsilon does not hold. 1e-5 by default.")
    start: str | None = option(
        None,
        "Begin with the weights of a model that opens, its networks instead of the preset's: fine-tuning.",
        also="--from",
    )
    eval_kimg: float | None = option(
        None, "Measure a few samples every so many kimg and keep the best snapshot in snapshots/best."
    )
    on_collapse: Literal["warn", "stop", "rollback"] | None = option(
        None, "When the monitor sees a mode collapse: warn, stop, or go back to the last healthy state."
    )
    settings: Mapping[str, Any] | None = option(
        None, 'Single settings by their path in config.json, for instance {"optimizer.lr_critic": 1e-3}.'
    )

    def __post_init__(self) -> None:
        """One name instead of several is taken, too, and NumPy's numbers. Raises `GanvasError` for other types."""
        for name, hint in get_type_hints(TrainOptions).items():
            value = getattr(self, name)
            kind = next((each for each in get_args(hint) if each is not type(None)), hint)
            if get_origin(kind) is Literal:
                kind = str
            if kind not in SIMPLE or (value is None and kind is not bool):
                continue
            taken, wanted = SIMPLE[kind]
            expect(value, () if isinstance(value, bool) and kind is not bool else taken, name, wanted)
            object.__setattr__(self, name, kind(value))
        for name in ("penalty", "term", "augment", "columns", "static"):
            value = getattr(self, name)
            if value is None:
                continue
            several = (value,) if isinstance(value, str) else value
            if not isinstance(several, list | tuple) or not all(isinstance(each, str) for each in several):
                example = ', for instance "mode-seeking=0.2"' if name == "term" else ""
                raise GanvasError(f"{name} is {value!r}; it must be a name or a list of names{example}.")
            object.__setattr__(self, name, tuple(several))
        if self.settings is not None and not (
            isinstance(self.settings, Mapping) and all(isinstance(path, str) for path in self.settings)
        ):
            raise GanvasError(
                f'settings is {self.settings!r}; it must be a mapping, for instance {{"optimizer.lr_critic": 1e-3}}.'
            )

    @classmethod
    def of(cls, options: "TrainOptions | None", overrides: Mapping[str, Any]) -> "TrainOptions":
        """`options` with `overrides` by name; raises `GanvasError` for a name that is none."""
        if not isinstance(options, cls | None):
            raise GanvasError(f"options is {options!r}; it must be a TrainOptions.")
        known = [each.name for each in dataclasses.fields(cls)]
        for name in overrides:
            if name not in known:
                raise GanvasError(f"Unknown option {name!r} of a training.{did_you_mean(name, known)}")
        return dataclasses.replace(options or cls(), **overrides)

    def given(self) -> dict[str, Any]:
        """Name -> value of what was asked for."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None and value is not False}


RESUMABLE: dict[str, str] = {
    each.name: each.metadata["resumable"]
    for each in dataclasses.fields(TrainOptions)
    if each.metadata["resumable"]
}
"""Options that may be given beside `resume` when they agree with the run: name -> path in its config."""
