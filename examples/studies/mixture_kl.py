"""How few draws the KL divergence of a mixture needs: spread of the estimate by number of draws, plain and by component.

    python examples/studies/mixture_kl.py

Random pairs of nine-component full-covariance mixtures in two dimensions, the shape of the default model. "plain" draws z
from the whole mixture, the obvious implementation. "by component" sums over the components exactly and draws only within
each, as `ambiseg.models.nets.latents.kl` does. The figure is the standard deviation of one image's estimate in nats.
"""

import time

import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.nets.latents import Latent, LatentShape, kl, latent
from ambiseg.terminal.console import plain_errors

SHAPE = LatentShape("mixture-full", dim=2, components=9)
PAIRS, REPEATS = 32, 200


def mixture(seed: str) -> Latent:
    return latent(torch.randn(PAIRS, 9 * sum(SHAPE.sizes), generator=generator_for(seed)), SHAPE)


def plain(q: Latent, p: Latent, generator: torch.Generator, draws: int) -> torch.Tensor:
    z = q.draw(q.noise(draws, generator))
    return (q.log_prob(z) - p.log_prob(z)).mean(1)


def main() -> None:
    q, p = mixture("q"), mixture("p")
    truth = kl(q, p, generator_for("truth"), draws=20_000)
    print(f"mean KL {truth.mean():.2f} nats; {PAIRS} pairs, {REPEATS} repeats, torch {torch.__version__}")
    print("draws   plain sd   by component sd   plain ms   by component ms")
    for draws in (9, 72, 1000):
        row = []
        for estimate, count in ((plain, draws), (kl, max(draws // 9, 1))):
            start = time.perf_counter()
            found = torch.stack([estimate(q, p, generator_for(draws, n), count) for n in range(REPEATS)])
            row.append(((found - truth).square().mean().sqrt().item(), (time.perf_counter() - start) / REPEATS * 1e3))
        (plain_sd, plain_ms), (own_sd, own_ms) = row
        print(f"{draws:5d}   {plain_sd:8.3f}   {own_sd:15.3f}   {plain_ms:8.1f}   {own_ms:15.1f}")


if __name__ == "__main__":
    with plain_errors():
        main()
