"""The codebook against van den Oord et al.'s update written out by hand, and when it may move."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.nets.codebook import Codebook


def settled(codes: list[list[float]], decay: float = 0.9) -> Codebook:
    """A codebook with given codes that needs no initialisation any more."""
    book = Codebook(len(codes), len(codes[0]), decay)
    book.codes.copy_(torch.tensor(codes))
    book.initialised.fill_(True)
    return book


def test_outputs_take_their_nearest_code() -> None:
    book = settled([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]]).eval()
    found = book(torch.tensor([[0.1, 1.4], [0.1, 1.6], [3.0, -1.0]]), generator_for(0))
    assert found.index.tolist() == [0, 2, 1]
    assert torch.allclose(found.vectors, torch.tensor([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0]]), atol=1e-6)
    assert found.commitment.item() == pytest.approx((0.01 + 1.96 + 0.01 + 1.96 + 1 + 1) / 6)


def test_the_gradient_passes_straight_and_commitment_moves_outputs_alone() -> None:
    book = settled([[0.0, 0.0], [4.0, 0.0]])
    outputs = torch.tensor([[1.0, 1.0], [3.0, 1.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (book(outputs, generator_for(0)).vectors * weight).sum().backward()
    assert torch.equal(outputs.grad, weight)
    outputs.grad = None
    book = settled([[0.0, 0.0], [4.0, 0.0]])
    book(outputs, generator_for(0)).commitment.backward()
    assert torch.allclose(outputs.grad, torch.tensor([[0.5, 0.5], [-0.5, 0.5]]))
    assert not any(buffer.requires_grad for buffer in book.buffers())


def test_codes_follow_the_moving_mean_of_their_outputs() -> None:
    """Two batches by hand, decay .9: counts .1 n, then .09 n + .1 m; the code is the weighted mean of what it got."""
    book = settled([[0.0], [10.0], [50.0]])
    book(torch.tensor([[1.0], [2.0], [9.0]]), generator_for(0))
    assert torch.allclose(book.counts, torch.tensor([0.2, 0.1, 0.0]))
    assert torch.allclose(book.codes[:2, 0], torch.tensor([1.5, 9.0]), rtol=1e-3)
    book(torch.tensor([[3.0]]), generator_for(0))
    assert torch.allclose(book.counts, torch.tensor([0.28, 0.09, 0.0]))
    assert book.codes[0, 0].item() == pytest.approx((0.09 * 3 + 0.1 * 3) / (0.09 * 2 + 0.1), rel=1e-3)
    assert book.codes[1, 0].item() == pytest.approx(9.0, rel=1e-3)


def test_a_code_begins_as_though_it_had_an_equal_share() -> None:
    """Four outputs, two codes: each begins with a count of 2, so one batch moves a code by a part of the way alone."""
    outputs = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]])
    book = Codebook(2, 1, 0.9)
    book(outputs, generator_for(0))
    begun = Codebook(2, 1, 0.9)
    begun._begin(outputs, generator_for(0))
    index = (outputs - begun.codes.T).abs().argmin(1)
    for number in range(2):
        won = outputs[index == number, 0]
        kept = 0.9 * 2 * begun.codes[number, 0]
        wanted = (kept + 0.1 * won.sum()) / (0.9 * 2 + 0.1 * len(won))
        assert book.codes[number, 0].item() == pytest.approx(wanted.item(), abs=1e-5)
        assert book.counts[number].item() == pytest.approx(0.9 * 2 + 0.1 * len(won))


def test_unused_codes_stay_where_they_are_unless_they_are_recycled() -> None:
    book = settled([[0.0], [10.0], [50.0]])
    book(torch.tensor([[1.0], [11.0]]), generator_for(0))
    once = book.codes.clone()
    for _ in range(2000):
        book(torch.tensor([[1.0]]), generator_for(0))
    assert torch.equal(book.codes[1:], once[1:])
    assert book.live.tolist() == [True, False, False]


def test_a_recycled_code_is_put_on_a_far_output_and_begins_anew() -> None:
    book = settled([[0.0], [10.0], [50.0]])
    book.counts.copy_(torch.tensor([4.0, 4.0, 0.0]))
    book.sums.copy_(book.codes * book.counts[:, None])
    book(torch.tensor([[0.0], [0.0], [10.0], [10.0], [-7.0]]), generator_for(0), recycle=True)
    assert book.codes[2].item() == -7.0
    assert book.counts[2].item() == pytest.approx(5 / 3)
    assert book.sums[2].item() == pytest.approx(-7.0 * 5 / 3)
    assert book.live.all()


def test_all_codes_live_before_training_and_a_long_unused_one_does_not() -> None:
    book = settled([[0.0], [10.0]], decay=0.99)
    assert book.live.tolist() == [True, True]
    book.counts.fill_(1.0)
    unused = 0
    while book.live[1]:
        book(torch.tensor([[0.0], [0.0]]), generator_for(0))
        unused += 1
    assert 225 < unused < 235


def on_a_line(step: int, dims: int = 16) -> torch.Tensor:
    """48 outputs of a cloud near a line, on which few draws of the normal distribution of the same deviations are ever
    the nearest.
    """
    generator = generator_for("line", step)
    place = torch.randn(48, 1, generator=generator)
    direction = torch.randn(dims, generator=generator_for("direction"))
    return place * direction + 0.02 * torch.randn(48, dims, generator=generator)


def followed(book: Codebook, steps: range, recycle: bool) -> Codebook:
    for step in steps:
        book(on_a_line(step), generator_for(step), recycle=recycle)
    return book


def test_codes_cover_a_cloud_near_a_line_by_being_recycled() -> None:
    """Until no output is far from its code, which takes fewer codes than there are."""
    kept = followed(Codebook(64, 16, 0.99), range(1000), recycle=False)
    recycled = followed(Codebook(64, 16, 0.99), range(1000), recycle=True)
    assert kept.live.sum() < 16
    assert recycled.live.sum() >= 32
    assert recycled.perplexity > 4 * kept.perplexity
    cloud = torch.cat([on_a_line(step) for step in range(2000, 2010)])
    errors = [book.eval()(cloud, generator_for(0)).commitment / cloud.var(0).mean() for book in (kept, recycled)]
    assert errors[0] > 0.03
    assert errors[1] < 0.005


def test_recycling_ends_when_no_output_is_far_from_its_code() -> None:
    outputs = torch.tensor([[0.0], [0.0], [10.0], [10.0]])
    for near, recycled in ((9.5, False), (8.0, True)):  # the variance is 25
        book = settled([[0.0], [near], [50.0]], decay=0.999999)
        book.counts.copy_(torch.tensor([4.0, 4.0, 0.0]))
        book.sums.copy_(book.codes * book.counts[:, None])
        book(outputs, generator_for(0), recycle=True)
        assert (book.codes[2].item() == 10.0) == recycled


def test_a_resumed_codebook_goes_on_to_the_same_bytes() -> None:
    """All of its state is in its buffers, that of recycling too."""
    book = followed(Codebook(32, 16, 0.9), range(60), recycle=True)
    other = Codebook(32, 16, 0.9)
    other.load_state_dict({name: value.clone() for name, value in book.state_dict().items()})
    before = book.codes.clone()
    followed(book, range(60, 120), recycle=True)
    followed(other, range(60, 120), recycle=True)
    assert not torch.equal(book.codes, before)
    assert all(torch.equal(one, two) for one, two in zip(book.buffers(), other.buffers(), strict=True))


@pytest.mark.parametrize("how", ["eval", "no_grad", "inference"])
def test_nothing_moves_outside_training(how: str) -> None:
    book = Codebook(5, 3, 0.9).train(how != "eval")
    before = {name: buffer.clone() for name, buffer in book.named_buffers()}
    context = {"eval": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}[how]
    with context():
        book(torch.randn(4, 3, generator=generator_for("outputs")), generator_for(0), recycle=True)
    assert all(torch.equal(before[name], buffer) for name, buffer in book.named_buffers())


def test_the_first_batch_gives_the_codes_their_distribution() -> None:
    outputs = torch.randn(500, 2, generator=generator_for("outputs")) * torch.tensor([1.0, 5.0]) + torch.tensor(
        [3.0, -2.0]
    )
    books = [Codebook(4000, 2, 0.99) for _ in range(3)]
    for book, seed in zip(books, (0, 0, 1), strict=True):
        book(outputs, generator_for(seed))
    assert torch.equal(books[0].codes, books[1].codes)
    assert not torch.equal(books[0].codes, books[2].codes)
    assert torch.allclose(books[0].codes.mean(0), outputs.mean(0), atol=0.3)
    assert torch.allclose(books[0].codes.std(0), outputs.std(0), rtol=0.1)
    first = books[0].codes.clone()
    books[0](outputs + 100, generator_for(1))
    assert (books[0].codes != first).any(1).sum() < 20  # no second initialisation: only the codes in use have moved


def test_perplexity_counts_equally_frequent_codes() -> None:
    book = settled([[0.0], [10.0], [20.0], [30.0]])
    book(torch.tensor([[0.0], [10.0]]), generator_for(0))
    assert book.perplexity.item() == pytest.approx(2.0, rel=1e-4)


def test_computed_in_float32_under_autocast() -> None:
    book = settled([[0.0, 0.0], [4.0, 0.0]])
    with torch.autocast("cpu", torch.bfloat16):
        found = book(torch.tensor([[1.001, 0.0]], dtype=torch.bfloat16), generator_for(0))
    assert found.vectors.dtype == found.commitment.dtype == book.codes.dtype == torch.float32


@pytest.mark.parametrize("begin", ["settled", "new", "recycled"])
def test_processes_keep_one_codebook(
    tmp_path: Path, in_two_processes: Callable[[Callable[[int], None]], None], begin: str
) -> None:
    """Two processes with half a batch each move the codes as one with all of it; they begin and recycle alike."""

    def learn(rank: int) -> None:
        torch.manual_seed(rank)
        book = Codebook(6, 3, 0.9)
        book.codes.copy_(torch.randn(6, 3, generator=generator_for("codes")))
        for number, step in enumerate(torch.randn(4, 8, 3, generator=generator_for("outputs"))):
            book.initialised.fill_(number > 0 or begin == "settled")
            recycle = begin == "recycled"
            if recycle and number:
                book.counts[:4] = 0.0
            book(step[rank::2], generator_for(number, rank), recycle=recycle)
        torch.save(book.state_dict(), tmp_path / f"{begin}-{rank}.pt")

    in_two_processes(learn)
    first, second = (torch.load(tmp_path / f"{begin}-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    if begin == "settled":
        book = settled(torch.randn(6, 3, generator=generator_for("codes")).tolist())
        for step in torch.randn(4, 8, 3, generator=generator_for("outputs")):
            book(step, generator_for(0))
        assert torch.allclose(book.codes, first["codes"], atol=1e-5)
        assert torch.allclose(book.counts, first["counts"])
