"""The light evaluation while training: rank the snapshots of one run and keep the best."""

import math
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ganvas import io
from ganvas.config import Config
from ganvas.data import Dataset
from ganvas.errors import GanvasError, explain_os_error
from ganvas.features import Extractor, open_extractor
from ganvas.features.base import Raw
from ganvas.features.stats import MAX_DIM
from ganvas.metrics import Row, evaluate, sequences
from ganvas.metrics.rows import name_of_before, rows_among
from ganvas.model import Model
from ganvas.model_file import load
from ganvas.networks.projected import guide_of
from ganvas.runs import Run, is_own, trained, trained_beyond

SOURCE = "training"
"""What the rows in metrics.jsonl say that they come from."""


def check_measurable(config: Config, dataset: Dataset) -> None:
    """Raise `GanvasError` for what samples of a run cannot be measured by, before there is its folder."""
    judge = open_extractor("auto", dataset, "cpu", guide=guide_of(config.network))
    numbers = math.prod(dataset.shape)
    if config.training.eval_kimg and judge.id == Raw.id and numbers > MAX_DIM:
        raise GanvasError(
            f"Snapshots are ranked by the Frechet distance, which takes at most {MAX_DIM:,} numbers, and samples of "
            f"{dataset.name} have {numbers:,}. Omit --eval-kimg, or give fewer columns or a shorter --window."
        )
    parts = dataset.split(config.data.holdout, config.data.fold)
    if dataset.series is not None and min(map(len, parts)) < sequences.LEAST:
        raise GanvasError(
            f"Samples are measured beside {sequences.LEAST} series that were trained on and as many held out: of {dataset.name} "
            f"there are {len(parts[0])} and {len(parts[1])}. Add --set data.holdout=0.3 or a shorter --window, or omit "
            "--eval-kimg, --seeds and --folds."
        )


class BestSnapshot:
    """Frechet distance of a few samples at every due snapshot; the best one is copied to snapshots/best."""

    def __init__(self, run: Run, dataset: Dataset, device: str) -> None:
        self.run, self.dataset = run, dataset
        self.every = run.config.training.eval_kimg
        guide = guide_of(run.config.network)
        self.extractor: Extractor | None = (
            open_extractor("auto", dataset, device, guide=guide) if self.every else None
        )
        self.kept = run.path / "snapshots" / "best"
        measured = self._recall()
        self.last = max((row.kimg or 0.0 for row in measured), default=0.0)

    def rewind(self, kimg: float) -> None:
        """Forget what was measured and kept beyond a state that a run went back to; its lines are gone already."""
        if trained_beyond(self.kept, kimg):
            try:
                shutil.rmtree(self.kept)
            except OSError as error:
                raise explain_os_error(error, f"removing {self.kept}") from error
        self._recall()
        self.last = min(self.last, kimg)

    def _recall(self) -> list[Row]:
        """What was measured so far, and the best of it."""
        measured = [row for row in rows_among(self.run.metrics()) if row.source == SOURCE]
        alike = [row for row in measured if self._is_alike(row)]
        self.value = min((row.value for row in alike), default=float("inf"))
        if self.every and alike:
            best = min(alike, key=lambda row: row.value)
            # A kill, or a disk that was full, may have come between its figure and its copy, or between the two renames that
            # replace it; and no later one would be better than what is not there.
            own = trained(self.kept / "generator.safetensors")
            if own != best.kimg:
                self._bring_back(
                    best, min((row.value for row in alike if row.kimg == own), default=float("inf"))
                )
        return measured

    def _is_alike(self, row: Row) -> bool:
        """Whether a figure compares with those to come: of a resumed run the settings and what is installed may have changed."""
        if self.extractor is None:
            return True
        names = (self.extractor.id, name_of_before(self.extractor.id))
        return row.n == self.run.config.training.eval_samples and row.extractor in names

    def due(self, kimg: float) -> bool:
        """True when the next snapshot should be measured."""
        return bool(self.every) and kimg > 0 and kimg - self.last >= self.every - 1e-9

    def measure(self, model: Model, snapshot: Path) -> float:
        """Measure, write the row, and keep the snapshot when it is the best so far."""
        now, kept = model.info.kimg or 0.0, self.kept / "generator.safetensors"
        if self.value == float("inf") and self.kept.exists() and trained(kept) < now:
            # It was the best by figures that do not compare with these. One from beyond the state that was gone on from is
            # made again: it has no figures.
            with suppress(GanvasError):  # a damaged one is replaced
                self.value = self._figure(load(self.kept, device=str(model.device)), self._name_of_kept())
        value = self._figure(model, snapshot.name)
        self.last = now
        if value < self.value:
            self.value = value
            self._keep(snapshot)
        return value

    def _name_of_kept(self) -> str:
        """What the snapshot that was kept is called; it may be gone."""
        kimg = io.read_header(self.kept / "generator.safetensors").get("kimg")
        rows = [row for row in rows_among(self.run.metrics()) if row.source == SOURCE and row.kimg == kimg]
        return rows[-1].snapshot if rows else self.kept.name

    def _figure(self, model: Model, name: str) -> float:
        """Measure a snapshot and write the row."""
        t = self.run.config.training
        assert self.extractor is not None
        found = evaluate(
            model,
            self.dataset,
            ["frechet"],
            n=t.eval_samples,
            extractor=self.extractor,
            seed=t.seed,
            floor=False,
        )
        if not found.rows:
            raise GanvasError(f"The Frechet distance cannot be had: {'; '.join(found.skipped.values())}")
        (row,) = found.rows
        kimg = model.info.kimg or 0.0
        self.run.append_metrics([replace(row, source=SOURCE, snapshot=name, kimg=kimg).to_json()])
        return row.value

    def _keep(self, snapshot: Path) -> None:
        self.run.check_home()
        # A link out of a run from anybody leads to what is nobody's business.
        files = [each for each in snapshot.iterdir() if each.is_file() and is_own(each, self.run.path)]
        if "generator.safetensors" not in {each.name for each in files}:
            raise GanvasError(f"{snapshot} has no generator of its own.")
        with io.atomic_folder(snapshot.with_name("best")) as temporary:
            temporary.mkdir()
            for file in files:
                shutil.copyfile(file, temporary / file.name)

    def _bring_back(self, best: Row, instead: float) -> None:
        self.value = instead  # that of what is kept, where its snapshot is gone as well
        for path in self.run.snapshots:
            with suppress(GanvasError):
                if (
                    path.name == best.snapshot
                    and io.read_header(path / "generator.safetensors").get("kimg") == best.kimg
                ):
                    self._keep(path)
                    self.value = best.value
