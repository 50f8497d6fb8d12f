"""Several processes under `torchrun`: averaged gradients, and files written by rank 0 only.

Networks are not wrapped in DistributedDataParallel: gradient penalties differentiate twice and a step calls
backward several times, which DDP's hooks handle badly. Gradients are averaged once before each optimiser step.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as td
from torch import Tensor, nn


def start(device: torch.device) -> None:
    """Join the group when `torchrun` set the environment; does nothing in a single process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not td.is_initialized():
        td.init_process_group("nccl" if device.type == "cuda" else "gloo")


def stop() -> None:
    """Leave the group."""
    if td.is_available() and td.is_initialized():
        td.destroy_process_group()


def rank() -> int:
    """Number of this process; 0 when there is one."""
    return td.get_rank() if td.is_available() and td.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return td.get_world_size() if td.is_available() and td.is_initialized() else 1


def local_device(device: torch.device) -> torch.device:
    """On a machine with several GPUs, the one of this process."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def mine(batch: Tensor) -> Tensor:
    """This process's part of a batch that every process drew in full: 2 x B/2 is then the same as 1 x B."""
    size = len(batch) // world_size()
    return batch[rank() * size : (rank() + 1) * size]


def sync_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over all processes: one flat all-reduce. A missing gradient counts as zero."""
    if world_size() == 1:
        return
    trained = [p for p in parameters if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
    td.all_reduce(flat)
    flat /= world_size()
    for parameter, part in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
        # Fused optimisers walk through memory: a gradient laid out otherwise than its weight would be misread.
        parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))


def mean(value: Tensor) -> Tensor:
    """The mean of a number over all processes."""
    if world_size() == 1:
        return value
    value = value.clone()
    td.all_reduce(value)
    return value / world_size()


def broadcast_buffers(module: nn.Module) -> None:
    """Give every process rank 0's buffers (running averages of batch norm, spectral norm vectors)."""
    if world_size() > 1:
        for buffer in module.buffers():
            td.broadcast(buffer, 0)


def agree(flag: bool, device: torch.device) -> bool:
    """True everywhere when it is true on any process: all stop at the same step."""
    if world_size() == 1:
        return flag
    tensor = torch.tensor(float(flag), device=device)
    td.all_reduce(tensor, td.ReduceOp.MAX)
    return bool(tensor.item())


def barrier() -> None:
    """Wait for the others."""
    if world_size() > 1:
        td.barrier()


def share(text: str) -> str:
    """Rank 0's text on every process."""
    if world_size() == 1:
        return text
    box: list[str] = [text]
    td.broadcast_object_list(box, 0)
    return box[0]
