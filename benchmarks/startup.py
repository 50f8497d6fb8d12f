"""How long `ganvas --help` and `import ganvas` take, and how much memory a Fashion-MNIST run needs.

python benchmarks/startup.py
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 9


def seconds(*arguments: str) -> float:
    """Median wall-clock time of a fresh Python process."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    bare = seconds("-c", "pass")
    print("| what | seconds | above bare Python |\n| --- | --- | --- |")
    for label, arguments in (
        ("python -c pass", ("-c", "pass")),
        ("import ganvas", ("-c", "import ganvas")),
        ("ganvas --help", ("-m", "ganvas", "--help")),
        ("import torch", ("-c", "import torch")),
        ("ganvas list", ("-m", "ganvas", "list")),
    ):
        found = seconds(*arguments)
        print(f"| `{label}` | {found:.2f} | {found - bare:.2f} |")
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "ganvas",
            "train",
            "fashion-mnist",
            "--minutes",
            "0.5",
            "--device",
            "cpu",
            "--out",
            folder,
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\npeak memory of `ganvas train fashion-mnist` (60,000 images resident): {peak:.0f} MiB")


if __name__ == "__main__":
    main()
