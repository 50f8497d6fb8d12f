"""What a run's files say, for people: the verdicts on its statistics, what an evaluation left, and report.html of all."""

from ganvas.report.artifacts import save_artifacts, save_audit
from ganvas.report.page import curves, interpolation, write_report

__all__ = ["curves", "interpolation", "save_artifacts", "save_audit", "write_report"]
