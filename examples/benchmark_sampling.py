"""Time and memory of 16 and 1000 masks of one image: the U-Net runs once, only the last 1x1 layers run for each draw.

    python examples/benchmark_sampling.py [--method generalized] [--preset paper] [--size 128] [--draws 16 1000] [--naive]

`--naive` also times the U-Net run anew for each of the 16 draws, as a loop over a whole forward pass would.
"""

import argparse
import resource
import statistics
import time

import torch

from ambiseg.models.config import make_config
from ambiseg.models.device import resolve_device
from ambiseg.models.method import build
from ambiseg.models.randomness import generator_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="generalized")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--draws", type=int, nargs="+", default=[16, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--naive", action="store_true")
    asked = parser.parse_args()
    device, config = resolve_device(asked.device), make_config(asked.method, asked.preset)
    method = build(config.method, 1, 2, config.options).to(device).eval()
    image = torch.rand(1, 1, asked.size, asked.size, device=device)
    print(f"{asked.method}, preset {asked.preset}, one image of {asked.size} x {asked.size}")
    print(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads")

    def seconds(draws: int, times: int = 1) -> float:
        spans = []
        for _ in range(asked.rounds):
            start = time.perf_counter()
            for _ in range(times):
                method(image).atoms(draws, generator_for(0)).labels.cpu()
            spans.append(time.perf_counter() - start)
        return statistics.median(spans)

    with torch.inference_mode():
        method(image).atoms(2, generator_for(0))
        for draws in asked.draws:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{draws:5d} draws: {seconds(draws):.3f} s; peak memory of the process {peak:.0f} -> ", end="")
            print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        if asked.naive:
            print(f"   16 draws, the whole network for each: {seconds(1, 16):.3f} s")


if __name__ == "__main__":
    main()
