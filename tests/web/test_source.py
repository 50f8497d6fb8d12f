"""What the pages of a server share."""

from collections.abc import Callable

from ganvas.training import Result
from ganvas.web.source import newest


def test_the_newest_snapshot_is_told_by_its_files(tiny_train: Callable[..., Result]) -> None:
    run = tiny_train(kimg=0.064).run
    before = newest(run)
    assert before is not None
    assert (before, before[0]) == (newest(run), run.snapshots[-1])
    generator = run.snapshots[-1] / "generator.safetensors"
    (run.snapshots[-1] / "gone.safetensors").symlink_to("nowhere")
    assert newest(run) == before, "a link that leads nowhere is none of them"
    content = generator.read_bytes()
    generator.unlink()
    generator.write_bytes(content)
    assert newest(run) != before
