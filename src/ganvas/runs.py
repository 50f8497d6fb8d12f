"""A run folder: who writes what, and how it is found again.

runs/00003-digits-dcgan/
  config.json   resolved config, command, versions, data
  log.txt       what was said, line by line
  stats.jsonl   one JSON object every `log_kimg`
  metrics.jsonl one JSON object a figure of `ganvas eval`, or of the light evaluation while training
  samples/      reals.png, 000512.png: fixed latents, the number is kimg
  snapshots/    000512/generator.safetensors, critic.safetensors; best/ by the light evaluation
  state/        latest.safetensors: everything that --resume needs
  report.html
"""

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ganvas import io
from ganvas.config import Config, from_dict, to_dict
from ganvas.errors import GanvasError, explain_os_error


@dataclass(frozen=True)
class Run:
    """A folder that a training run owns."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def state_path(self) -> Path:
        return self.path / "state" / "latest.safetensors"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples"

    @property
    def config(self) -> Config:
        """The resolved config that the run was started with."""
        return from_dict(Config, self.info["config"])

    @property
    def info(self) -> io.Json:
        """config.json: the config and where it came from."""
        value = io.read_json(self.config_path)
        if not isinstance(value.get("config"), dict):
            raise GanvasError(f"{self.config_path} is damaged: it holds no 'config'.")
        return value

    @property
    def snapshots(self) -> list[Path]:
        """Complete snapshots, oldest first. A folder appears under its name only when it is whole."""
        found = [p for p in (self.path / "snapshots").glob("*") if re.fullmatch(r"\d{6,}", p.name)]
        return sorted(found, key=lambda p: int(p.name))

    def write_config(self, config: Config, info: io.Json) -> None:
        """Write config.json."""
        io.write_json(
            self.config_path, {"format_version": io.FORMAT_VERSION, "config": to_dict(config), **info}
        )

    def remove_leftovers(self) -> None:
        """Delete temporary files and folders that a killed process left behind."""
        for path in list(self.path.rglob(".*.tmp")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def log(self, message: str) -> None:
        """Append a line to log.txt."""
        self._append("log.txt", message)

    def append_stats(self, record: io.Json) -> None:
        """Append one line to stats.jsonl."""
        self._append("stats.jsonl", json.dumps(record))

    def _append(self, name: str, line: str) -> None:
        try:
            with open(self.path / name, "a", encoding="utf-8") as file:
                file.write(line.rstrip("\n") + "\n")
        except OSError as error:
            raise explain_os_error(error, f"writing {name}") from error

    def stats(self) -> list[io.Json]:
        """The lines of stats.jsonl; a last line cut by a kill is left out."""
        return self._lines("stats.jsonl")

    def _lines(self, name: str) -> list[io.Json]:
        return io.read_json_lines(self.path / name)

    def append_metrics(self, rows: list[io.Json]) -> None:
        """Append lines to metrics.jsonl."""
        for row in rows:
            self._append("metrics.jsonl", json.dumps(row))

    def metrics(self) -> list[io.Json]:
        """The lines of metrics.jsonl."""
        return self._lines("metrics.jsonl")

    def rewind_stats(self, kimg: float) -> None:
        """Drop lines past the state that a resumed run starts from: they will be made again."""
        for name in ("stats.jsonl", "metrics.jsonl"):
            if (self.path / name).exists():
                kept = [
                    json.dumps(record)
                    for record in self._lines(name)
                    if (record.get("kimg") or 0) <= kimg + 1e-9
                ]
                io.write_bytes(self.path / name, "".join(line + "\n" for line in kept).encode())


def create_run(out: Path, name: str, content: io.Json) -> Run:
    """Make the next numbered folder `out/00003-name` with its config.json already in it.

    The folder appears whole; two runs that start together get two numbers.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(m[1]) for p in out.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
            path = out / f"{max(taken, default=-1) + 1:05d}-{name}"
            try:
                with io.atomic(path) as temporary:
                    temporary.mkdir()
                    io.write_json(temporary / "config.json", content)
                return Run(path)
            except GanvasError:
                if not path.exists():  # not the race for a number but a real failure
                    raise
    except OSError as error:
        raise explain_os_error(error, "creating the run folder") from error


def open_run(path: str | os.PathLike[str]) -> Run:
    """The run at `path`; raises `GanvasError` when it is not one."""
    run = Run(Path(path))
    if not run.path.is_dir():
        raise GanvasError(f"No such run folder: {run.path}.")
    if not run.config_path.is_file():
        raise GanvasError(f"{run.path} is not a run folder: it holds no config.json.")
    return run


def command_line() -> str:
    """The command of this process, as a person would type it."""
    program = Path(sys.argv[0]).name
    return " ".join([program if program != "__main__.py" else "python -m ganvas", *sys.argv[1:]])
