"""One-dimensional bimodal regression (Kassapis et al. 2021, section 5.1): what the calibration loss does for a GAN.

    python examples/studies/bimodal_regression.py [--quick] [--repeats 5] [--figure bimodal.png]

Data (eq. 8): x uniform in [0, 1], b ~ Bernoulli(pi), e ~ N(0, sigma),
  y = .5 - b + e on [0, .4);  (-1)^b (1 - 1.25 x) + e on [.4, .8);  e on [.8, 1],
so pi is the probability of the lower mode. For each of nine settings of pi and sigma a regressor F learns the mean; then a
generator G(F(x), x, noise) is trained against a discriminator D(y, x), with the calibration loss (lambda 1) and without it
(lambda 0). All settings and repeats train at once, as stacks of small networks. The script prints for each setting, as means
over repeats and over the evaluations in the last quarter of the training:
  lower     share of draws nearer to the lower mode, for x in [0, .4) and in [.4, .64) (beyond, the modes merge)
  lost      share of such x where nearly all draws (99 %) lie in one mode
  log-lik   median and interquartile range over the runs of the data's mean log-likelihood, by a kernel density of the draws
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ambiseg.models.core.randomness import generator_for, normal, uniform
from ambiseg.models.nets.adversarial import fooling_loss, telling_loss
from ambiseg.models.nets.at_rest import frozen
from ambiseg.terminal.console import plain_errors

PI, SIGMA, LAMBDAS = (0.5, 0.6, 0.9), (0.01, 0.02, 0.03), (1.0, 0.0)
SETTINGS = tuple(product(PI, SIGMA))
HIDDEN, WIDTH, NOISE = 4, 64, 1  # noise and betas are as in the authors' notebooks; the paper gives none
LEARNING_RATE, BETAS = 1e-4, (0.9, 0.999)
BATCH = 100  # x per step and run, each with one reading and one draw
CALIBRATED, SAMPLES = 32, 20  # x per step and run in the calibration loss, and draws for each
EVALUATIONS = 20
GRID, DRAWS, BANDWIDTH = 50, 200, 0.1  # of an evaluation
SHOWN_SETTING = (0.9, 0.03)  # in the figure, as in the paper's
SHOWN = 20  # readings and draws at each x in the figure
LEFT, RIGHT = (0.0, 0.4), (0.4, 0.64)


class Stack(nn.Module):
    """`runs` independent perceptrons of four hidden layers: [runs, points, inputs] to [runs, points]."""

    def __init__(self, runs: int, inputs: int, generator: torch.Generator):
        super().__init__()
        sizes = [inputs, *[WIDTH] * HIDDEN, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = fan_in**-0.5
            for shape, kept in (((runs, fan_in, fan_out), self.weights), ((runs, 1, fan_out), self.biases)):
                kept.append(nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound))

    def forward(self, *inputs: Tensor) -> Tensor:
        """The outputs for inputs [runs, points] or [runs, points, n], one after the other."""
        points = torch.cat([part if part.dim() == 3 else part.unsqueeze(2) for part in inputs], 2)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            points = F.leaky_relu(torch.baddbmm(bias, points, weight))
        return torch.baddbmm(self.biases[-1], points, self.weights[-1]).squeeze(2)


@dataclass(frozen=True)
class Task:
    """The data of every run: probability of the lower mode and noise [runs, 1]."""

    pi: Tensor
    sigma: Tensor

    def upper(self, x: Tensor) -> Tensor:
        """The upper mode at x; the lower one is its negative."""
        return torch.where(x < 0.4, 0.5, (1 - 1.25 * x).clamp_min(0))

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """y for x [runs, points]."""
        lower = uniform(x.shape, generator, x) < self.pi
        return torch.where(lower, -1.0, 1.0) * self.upper(x) + self.sigma * normal(x.shape, generator, x)


@dataclass(frozen=True)
class Evaluation:
    """At a step: share of draws in the lower mode and whether a mode is lost [runs, 2] (left, right), log-likelihood [runs]."""

    step: int
    lower: Tensor
    lost: Tensor
    likelihood: Tensor


@dataclass(frozen=True)
class Trained:
    """The networks of all runs."""

    calibrator: Stack
    generator: Stack
    discriminator: Stack

    def sample(self, x: Tensor, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws [runs, points, draws] at x [runs, points], and the calibrator's means [runs, points]."""
        with torch.no_grad():
            mean = self.calibrator(x)
        noise = normal((len(x), x.shape[1] * draws, NOISE), generator, x)
        many_x, many_means = (part.repeat_interleave(draws, 1) for part in (x, mean))
        return self.generator(many_means, many_x, noise).unflatten(1, (-1, draws)), mean


def optimiser(net: Stack) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=BETAS)


def calibrated(task: Task, steps: int, generator: torch.Generator) -> Stack:
    """Regressors that minimise L_ce, half the mean squared error (eq. 11)."""
    runs = len(task.pi)
    net = Stack(runs, 1, generator)
    adam = optimiser(net)
    for _ in range(steps):
        x = uniform((runs, 4 * BATCH), generator, task.pi)
        adam.zero_grad()
        (0.5 * runs * F.mse_loss(net(x), task.draw(x, generator))).backward()
        adam.step()
    return net


def refined(task: Task, weight: float, nets: Trained, steps: int, generator: torch.Generator) -> Iterator[int]:
    """Train generators and discriminators with lambda = `weight`. Yields each step's number after it is done.

    Losses are sums over the runs, which share no parameter, so each trains as it would alone.
    """
    runs = len(task.pi)
    adams = [optimiser(net) for net in (nets.generator, nets.discriminator)]
    for step in range(steps):
        x = uniform((runs, BATCH), generator, task.pi)
        fake = nets.sample(x, 1, generator)[0].squeeze(2)
        with frozen(nets.discriminator):
            loss = runs * fooling_loss(nets.discriminator(fake, x))
        if weight:
            draws, mean = nets.sample(x[:, :CALIBRATED], SAMPLES, generator)
            loss = loss + weight * 0.5 * runs * F.mse_loss(draws.mean(2), mean)  # eq. 17
        adams[0].zero_grad()
        loss.backward()
        adams[0].step()
        real = nets.discriminator(task.draw(x, generator), x)
        telling = telling_loss(real, nets.discriminator(fake.detach(), x))
        adams[1].zero_grad()
        (runs * telling).backward()
        adams[1].step()
        yield step + 1


@torch.no_grad()
def evaluated(task: Task, nets: Trained, step: int, generator: torch.Generator) -> Evaluation:
    """Modes and likelihood on a grid of x."""
    x = ((torch.arange(GRID) + 0.5) / GRID).expand(len(task.pi), -1)
    draws, _ = nets.sample(x, DRAWS, generator)
    y = task.draw(x, generator)
    kernel = (
        -0.5 * ((y.unsqueeze(2) - draws) / BANDWIDTH).square() - torch.tensor(BANDWIDTH * (2 * torch.pi) ** 0.5).log()
    )
    likelihood = (kernel.logsumexp(2) - torch.tensor(float(DRAWS)).log()).mean(1)
    share = (draws < 0).float().mean(2)
    gone = ((share < 0.01) | (share > 0.99)).float()
    inside = [(x[0] >= low) & (x[0] < high) for low, high in (LEFT, RIGHT)]
    lower, lost = (torch.stack([part[:, where].mean(1) for where in inside], 1) for part in (share, gone))
    return Evaluation(step, lower, lost, likelihood)


def experiment(task: Task, steps: int, seed: int) -> dict[float, tuple[Trained, list[Evaluation]]]:
    """All runs of a task, for each lambda from the same start: the networks and their evaluations during training."""
    calibrator = calibrated(task, steps // 2, generator_for(seed, "calibrator"))
    found = {}
    for weight in LAMBDAS:
        generator, runs = generator_for(seed, "refinement"), len(task.pi)
        nets = Trained(calibrator, Stack(runs, 2 + NOISE, generator), Stack(runs, 2, generator))
        evaluations = [
            evaluated(task, nets, step, generator_for(seed, "evaluation", step))
            for step in refined(task, weight, nets, steps, generator)
            if step % (steps // EVALUATIONS) == 0
        ]
        found[weight] = nets, evaluations
    return found


def print_table(found: dict[float, tuple[Trained, list[Evaluation]]], repeats: int) -> None:
    print(
        "| pi | sigma | lambda | lower, left | lower, right | lost, left | lost, right | log-lik |\n" + "|---" * 8 + "|"
    )
    for number, (pi, sigma) in enumerate(SETTINGS):
        for weight, (_, evaluations) in found.items():
            last, runs = evaluations[-EVALUATIONS // 4 :], slice(number * repeats, (number + 1) * repeats)
            lower, lost = (torch.stack([part(e)[runs] for e in last]).mean((0, 1)) for part in (of_lower, of_lost))
            low, median, high = quartiles(torch.stack([e.likelihood[runs] for e in last]).mean(0))
            print(
                f"| {pi} | {sigma} | {weight:.0f} | {lower[0]:.2f} | {lower[1]:.2f} | {lost[0]:.2f} | {lost[1]:.2f} "
                f"| {median:.2f} ({low:.2f} to {high:.2f}) |"
            )


def of_lower(evaluation: Evaluation) -> Tensor:
    return evaluation.lower


def of_lost(evaluation: Evaluation) -> Tensor:
    return evaluation.lost


def quartiles(values: Tensor) -> Tensor:
    return values.quantile(torch.tensor([0.25, 0.5, 0.75]))


def typical_run(found: dict[float, tuple[Trained, list[Evaluation]]], repeats: int) -> int:
    """The run with `SHOWN_SETTING` whose likelihood with the calibration loss is the median of these runs."""
    first = SETTINGS.index(SHOWN_SETTING) * repeats
    likelihood = found[1.0][1][-1].likelihood[first : first + repeats]
    return first + int(likelihood.median(0).indices)


def draw_figure(found: dict[float, tuple[Trained, list[Evaluation]]], task: Task, run: int, path: Path) -> None:
    """The paper's figure 2: log-likelihood over all runs, and one run's draws with and without the calibration loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for (weight, (_, evaluations)), colour in zip(found.items(), ("tab:blue", "tab:orange"), strict=True):
        low, median, high = torch.stack([quartiles(e.likelihood) for e in evaluations], 1)
        steps = [e.step for e in evaluations]
        axes[0].plot(steps, median, color=colour, label=f"$\\lambda$ = {weight:.0f}")
        axes[0].fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    axes[0].set(xlabel="step", ylabel="log-likelihood of data (nats)", title="All runs: median and quartiles")
    axes[0].title.set_fontsize(11)
    axes[0].legend(frameon=False)
    for axis, (weight, (nets, _)) in zip(axes[1:], found.items(), strict=True):
        draw_run(axis, nets, task, run)
        name = "With" if weight else "Without"
        pi, sigma = task.pi[run].item(), task.sigma[run].item()
        axis.set_title(f"{name} calibration loss, $\\pi$ = {pi:.1f}, $\\sigma$ = {sigma:.2f}", fontsize=11)
    axes[1].legend(frameon=False, fontsize=8, loc="upper right")
    figure.savefig(path, dpi=110)


@torch.no_grad()
def draw_run(axis: Any, nets: Trained, task: Task, run: int) -> None:
    """Data, draws, both means, and in the background the discriminator's output."""
    runs = len(task.pi)
    x, y = torch.linspace(0, 1, 101), torch.linspace(-0.8, 0.8, 65)
    draws, mean = (part[run] for part in nets.sample(x.expand(runs, -1), DRAWS, generator_for("figure")))
    many = x.repeat_interleave(SHOWN)
    data = task.draw(many.expand(runs, -1), generator_for("data"))[run]
    pairs = [part.flatten().expand(runs, -1) for part in torch.meshgrid(y, x, indexing="ij")]
    believed = nets.discriminator(*pairs)[run].sigmoid().unflatten(0, (len(y), -1)).numpy()
    axis.imshow(
        believed, cmap="RdBu_r", vmin=0, vmax=1, alpha=0.5, extent=(0, 1, -0.8, 0.8), origin="lower", aspect="auto"
    )
    axis.plot(many, data, ".", color="black", markersize=1, label="data")
    axis.plot(many, draws[:, :SHOWN].flatten(), ".", color="deepskyblue", markersize=1.5, label="draws")
    axis.plot(x, mean, color="red", label="F(x)")
    axis.plot(x, draws.mean(1), color="navy", label="mean of draws")
    axis.set(xlabel="x", ylabel="y", ylim=(-0.8, 0.8))


def main() -> None:
    parser = argparse.ArgumentParser(description="Bimodal regression with and without the calibration loss.")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each setting")
    parser.add_argument("--steps", type=int, default=4000, help="steps of generator and discriminator; F takes half")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="draw the paper's figure 2 into this file")
    parser.add_argument("--quick", action="store_true", help="one repeat, 200 steps: shows only that the script runs")
    asked = parser.parse_args()
    repeats, steps = (1, 200) if asked.quick else (asked.repeats, asked.steps)
    runs = torch.tensor(SETTINGS).repeat_interleave(repeats, 0)
    task = Task(*runs.split(1, 1))
    found = experiment(task, steps, asked.seed)
    print_table(found, repeats)
    if asked.figure:
        draw_figure(found, task, typical_run(found, repeats), asked.figure)


if __name__ == "__main__":
    with plain_errors():
        main()
