"""Run by tests/test_shared_work.py under torchrun, and in one process as the reference.

First commands, then figures of many rows.
"""

import json
import sys
from pathlib import Path

import torch

from ganvas import dist, metrics
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.features import decoded
from ganvas.features.stats import moments
from ganvas.metrics.manifold import neighbourhood
from ganvas.metrics.memorisation import nearest_training

seen = []
for command in json.loads(sys.argv[1]):
    before = decoded.seen
    if code := main(command):
        sys.exit(code)
    seen.append(decoded.seen - before)

random = torch.Generator().manual_seed(0)
fake, real = (torch.randn(n, 6, generator=random) + 3 for n in (5000, 4600))
found = {}
with dist.together(torch.device("cpu")):
    balls, nearest, known = neighbourhood(fake, real), nearest_training(fake, real), moments(fake.numpy())
    found = {
        "frechet": metrics.frechet(fake, real),
        "kid": list(metrics.kid(fake, real, subsets=7, subset_size=500)),
        "kid-exact": list(metrics.kid_exact(fake, real)),
        "sliced": metrics.sliced_wasserstein(fake, real),
        **{name: part.double().tolist() for name, part in vars(balls).items()},
        **{name: part.double().tolist() for name, part in nearest._asdict().items()},
        "mean": known.mean.tolist(), "covariance": known.cov.tolist(),
    }  # fmt: skip
    shares = [list(dist.shard(range(n))) for n in (0, 1, 2, 5)]
    orders = [list(dist.collect(dist.shard(range(n)))) for n in (0, 1, 2, 5)]
    first = list(dist.collect(dist.shard(range(5)), everywhere=False))
    total = dist.total(torch.tensor([False, dist.rank() == 1])).tolist()
    rank, size = dist.rank(), dist.world_size()
    with dist.turn():
        alone = list(dist.shard(range(5))) if rank == 0 else []
assert list(dist.shard(range(3))) == [0, 1, 2]
# Where nobody said that the work is shared, as in a training, one process may measure alone.
dist.start(torch.device("cpu"))
try:
    if dist.rank() == 0:
        found["alone"] = metrics.frechet(fake, real)
        found["twice"] = ""
        if size > 1:
            try:
                with dist.together(torch.device("cpu")):
                    pass
            except GanvasError as error:
                found["twice"] = str(error)
finally:
    dist.stop()
if rank == 0:
    Path("figures.json").write_text(json.dumps(found))
Path(f"rank{rank}.json").write_text(
    json.dumps(
        {"seen": seen, "shares": shares, "orders": orders, "first": first, "total": total, "alone": alone}
    )
)
