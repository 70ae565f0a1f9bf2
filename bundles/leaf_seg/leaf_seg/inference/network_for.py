"""The network as a command of inference uses it."""

from __future__ import annotations

import torch

from leaf_seg.inference.auto_network import AutoNetwork
from leaf_seg.inference.fast_network import FastNetwork, ReadyNetwork
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.precision import AUTO
from leaf_seg.runtime.values import parse_bool


def network_for(network: SavedNetwork, device: torch.device, precision: str = "fp32") -> SavedNetwork | ReadyNetwork:
    """A network on its device; with precision "auto" an :class:`AutoNetwork`, else as it is, under autocast."""
    return AutoNetwork(network, device) if precision == AUTO else network.to(device).eval()


def fast_network(
    network: SavedNetwork,
    device: torch.device,
    precision: str = AUTO,
    channels_last: bool | str = True,
    compile: str = "off",
) -> ReadyNetwork:
    """A network whose weights are in the precision: a :class:`FastNetwork`, or with "auto" an :class:`AutoNetwork`.

    Raises:
        InputError: When the device does not have the precision, or an option is unknown.
    """
    last = parse_bool(channels_last, "channels_last")
    if precision == AUTO:
        return AutoNetwork(network, device, last, compile)
    return FastNetwork(network, device, precision, last, compile)


def fitting_batch_size(network: SavedNetwork, device: torch.device, most: int = 64) -> int:
    """Slices at a time: on CUDA as many as fill half of the free memory in fp32, a power of two; elsewhere 16.

    Args:
        network: as it is trained; it is moved to the device.
        device: to compute on.
        most: of them.
    """
    if device.type != "cuda":
        return min(16, most)
    network.to(device).eval()
    peaks = []
    for number in (1, 2):  # the first has what every batch needs, too
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        with torch.no_grad():
            network(torch.zeros(number, 3, *network.image_size, device=device))
        peaks.append(torch.cuda.max_memory_allocated(device) - before)
    free, _ = torch.cuda.mem_get_info(device)
    return fitting_number(free // 2, peaks[0], peaks[1], most)


def fitting_number(free: int, one: int, two: int, most: int) -> int:
    """Power of two of slices that fit into memory.

    Args:
        free: bytes.
        one: bytes that one slice takes.
        two: bytes that two take.
        most: slices.
    """
    each = max(two - one, two // 4, 1)  # what libraries take for themselves is in both
    number = max(min((free - one) // each + 1, most), 1)
    return 1 << (number.bit_length() - 1)
