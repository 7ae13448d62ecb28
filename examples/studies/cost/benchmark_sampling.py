"""Time and memory of 16, 100 and 1000 masks of one image: the U-Net runs once, and only the last 1x1 layers run for each draw.

    python examples/studies/cost/benchmark_sampling.py [--method generalized] [--preset paper] [--size 128] \\
        [--device cuda] [--naive]

`--naive` also times running the U-Net for each of the 16 draws, as a loop over a whole forward pass would.
"""

import argparse
import resource
import statistics
import time

import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.registry import build
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.terminal.console import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="generalized")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--draws", type=int, nargs="+", default=[16, 100, 1000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--naive", action="store_true")
    asked = parser.parse_args()
    device, config = resolve_device(asked.device), make_config(asked.method, asked.preset)
    method = build(config.method, 1, 2, config.options).to(device).eval()
    image = torch.rand(1, 1, asked.size, asked.size, device=device)
    print(f"{asked.method}, preset {asked.preset}, one image of {asked.size} x {asked.size}")
    print(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads")

    def milliseconds(draws: int, times: int = 1, *, to_host: bool = False) -> float:
        spans = []
        for _ in range(asked.rounds):
            finish(device)
            start = time.perf_counter()
            for _ in range(times):
                labels = method(image).atoms(draws, generator_for(0, device=device)).labels
                if to_host:
                    labels.cpu()
            finish(device)
            spans.append(time.perf_counter() - start)
        return 1e3 * statistics.median(spans)

    with torch.inference_mode():
        for draws in asked.draws:
            before = peak_megabytes(device)
            method(image).atoms(draws, generator_for(0, device=device))
            spent = f"{draws:5d} draws: {milliseconds(draws):8.2f} ms"
            if device.type == "cuda":
                spent += f", {milliseconds(draws, to_host=True):.2f} ms with the masks brought to the host"
            print(f"{spent}; peak memory {before:.0f} -> {peak_megabytes(device):.0f} MB")
        if asked.naive:
            print(f"   16 draws, the whole network for each: {milliseconds(1, 16):.2f} ms")


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_megabytes(device: torch.device) -> float:
    """The most memory in use so far: of the process, or of its tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    with plain_errors():
        main()
