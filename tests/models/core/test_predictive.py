"""Finite distributions over masks: their masks, draws and shared latent samples, on masks that are known."""

from itertools import pairwise

import pytest
import torch

from ambiseg.models.core.lesion_slices import Extent, LesionSlices
from ambiseg.models.core.predictive import FinitePredictive, GatedPredictive
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.latent_unet import LatentPredictive
from ambiseg.models.nets.latents import Latent, LatentShape

# Three atoms on images of one pixel row: nothing, the first pixel, all four pixels.
MASKS = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).view(3, 1, 4)


def predictive(probabilities: list[list[float]], shown: torch.Tensor | None = None) -> FinitePredictive:
    """Atoms with the given probabilities [B, 3]; `shown` [B, 3] says whether an atom marks anything in an image."""
    batch = len(probabilities)
    marks = MASKS.float().expand(batch, -1, -1, -1) * (1.0 if shown is None else shown.view(batch, 3, 1, 1))

    def decode(index: torch.Tensor) -> torch.Tensor:
        chosen = marks.gather(1, index[:, :, None, None].expand(-1, -1, 1, 4))
        return torch.stack((1 - chosen, chosen), 2) * 20

    return FinitePredictive(torch.tensor(probabilities).log(), decode)


def test_atoms_are_the_most_probable_masks_renormalised() -> None:
    atoms = predictive([[0.2, 0.5, 0.3], [0.1, 0.0, 0.9]]).atoms(2)
    assert atoms.draws is None
    assert [atoms.share_left_out(0), atoms.share_left_out(1)] == pytest.approx([0.2, 0.0], abs=1e-6)
    assert atoms.weights.tolist()[0] == pytest.approx([0.625, 0.375])
    assert atoms.weights.tolist()[1] == pytest.approx([0.9, 0.1])
    assert torch.equal(atoms.labels[0], MASKS[[1, 2]].to(torch.uint8))
    assert atoms.marginal[0, 1, 0].tolist() == pytest.approx([1.0, 0.375, 0.375, 0.375], abs=1e-4)


def test_draws_come_as_often_as_their_atoms_are_probable() -> None:
    draws = predictive([[0.2, 0.5, 0.3]]).sample(4000, generator_for(0)).argmax(2)
    marked = draws[0].sum((1, 2))
    shares = [(marked == area).float().mean().item() for area in (0, 1, 4)]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.025)


def test_tied_images_share_one_weighted_set_in_which_slices_without_lesion_have_no_say() -> None:
    """Slice 0 shows the lesion and believes in atom 1; slice 1 lies beside it: there all atoms are empty."""
    shown = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    atoms = predictive([[0.1, 0.7, 0.2], [0.98, 0.01, 0.01]], shown).lesion(3, LesionSlices((0.0, 8.0)))
    assert torch.equal(atoms.weights[0], atoms.weights[1])
    by_area = dict(zip(atoms.labels[0].sum((1, 2)).tolist(), atoms.weights[0].tolist(), strict=True))
    assert by_area == pytest.approx({0: 0.1, 1: 0.7, 4: 0.2}, abs=0.01)
    assert not atoms.labels[1].any()


def test_tied_draws_are_one_story() -> None:
    same = predictive([[0.3, 0.4, 0.3], [0.3, 0.4, 0.3]]).sample(200, generator_for(0), tied=True).argmax(2)
    apart = predictive([[0.3, 0.4, 0.3], [0.3, 0.4, 0.3]]).sample(200, generator_for(0)).argmax(2)
    assert torch.equal(same[0], same[1])
    assert not torch.equal(apart[0], apart[1])


def test_an_impossible_atom_is_never_drawn() -> None:
    draws = predictive([[0.0, 1.0, 0.0]]).sample(500, generator_for(0)).argmax(2)
    assert (draws.sum((2, 3)) == 1).all()


def test_slices_of_a_lesion_draw_the_same_component_by_the_word_of_those_that_show_it() -> None:
    """Two components, far apart; image 0 shows a large lesion in component 1, image 1 hardly any and believes in 0."""
    shape = LatentShape("mixture-axis", dim=1, components=2)
    loc = torch.tensor([-5.0, 5.0]).view(1, 2, 1).expand(2, -1, -1)
    belief = torch.tensor([[0.2, 0.8], [0.99, 0.01]]).log()
    prior = Latent(shape, loc, torch.full((2, 2, 1, 1), 0.01), belief)
    shown = torch.tensor([1.0, 0.02]).view(2, 1, 1, 1)  # share of the pixels that component 1 marks
    pixel = torch.linspace(0, 1, 100).view(1, 1, 1, 100)

    def decode(z: torch.Tensor) -> torch.Tensor:
        lesion = torch.where((z[..., None] > 0) & (pixel < shown), 20.0, -20.0)
        return torch.stack((torch.zeros_like(lesion), lesion), 2)

    draws = LatentPredictive(prior, decode).sample(2000, generator_for(0), tied=True).argmax(2)
    marked = draws.flatten(2).any(2)
    assert torch.equal(marked[0], marked[1])
    assert marked[0].float().mean().item() == pytest.approx(0.8, abs=0.03)
    apart = LatentPredictive(prior, decode).sample(2000, generator_for(0)).argmax(2).flatten(2).any(2)
    assert apart[1].float().mean().item() == pytest.approx(0.01, abs=0.01)


def test_a_hole_in_a_volume_is_filled_before_it_is_ranked() -> None:
    shown = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    same = [[0.2, 0.5, 0.3]] * 3
    near, apart = (predictive(same, shown).lesion(3, LesionSlices(place)) for place in ((0, 2, 4.0), (0, 40, 80.0)))
    assert torch.equal(near.labels[1], near.labels[0])
    assert torch.equal(apart.labels[1], apart.labels[0])  # a single slice is filled at any distance


def test_volumes_that_are_left_out_keep_the_scale_of_the_others() -> None:
    """P(no lesion) is what the model states, however few of its masks are looked at."""
    slices = LesionSlices((0.0, 8.0))
    for model in (predictive([[0.2, 0.5, 0.3]] * 2), gated([[0.2, 0.5, 0.3]] * 2)):
        for n in (2, 3, 40):
            atoms = model.lesion(n, slices)
            empty = atoms.labels.sum((0, 2, 3)) == 0
            stated = float(atoms.weights[0, empty].sum()) * (1 - atoms.share_left_out())
            listed = float(atoms.weights[0].sum())
            assert listed == pytest.approx(1, abs=1e-5)
            if empty.any():
                assert stated == pytest.approx(0.2, abs=1e-5)
    assert predictive([[0.2, 0.5, 0.3]] * 2).lesion(2, slices).share_left_out() == pytest.approx(0.2, abs=1e-5)


def gated(probabilities: list[list[float]]) -> GatedPredictive:
    """The same masks; number 0 marks nothing, the others something."""
    model = predictive(probabilities)
    return GatedPredictive(model.log_probabilities, model.decode)


def test_a_lesion_is_as_probable_as_its_most_probable_slice() -> None:
    atoms = gated([[0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.9, 0.05, 0.05]]).lesion(50, LesionSlices((0.0, 2, 4)))
    empty = atoms.labels.sum((0, 2, 3)) == 0
    assert float(atoms.weights[0, empty].sum()) == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize("extent", [None, Extent(intercept=1.0, slope=1.0, peak=0.2, among=4)])
def test_slices_are_marked_as_often_as_they_should_and_readers_are_nested(extent: Extent | None) -> None:
    slices = LesionSlices(tuple(2.0 * number for number in range(6)), extent=extent)
    model = gated([[1 - p, p * 0.6, p * 0.4] for p in (0.3, 0.5, 0.7, 0.8, 0.6, 0.35)])
    atoms = model.lesion(401, slices)
    weights, marked = atoms.weights[0], atoms.labels.flatten(2).any(2)
    expected = slices.marks(model.marking().double().numpy()) * 0.8
    assert (marked.float() @ weights).tolist() == pytest.approx(expected.tolist(), abs=0.01)
    assert atoms.marginal[:, 1, 0, 0].tolist() == pytest.approx(expected.tolist(), abs=0.01)
    counts = {sum(column): column for column in marked.T.tolist()}
    ordered = [counts[count] for count in sorted(counts)]
    for fewer, more in pairwise(ordered):
        assert all(a <= b for a, b in zip(fewer, more, strict=True))
    for column in marked.T.tolist():  # without gaps
        places = [number for number, seen in enumerate(column) if seen]
        assert places == list(range(places[0], places[-1] + 1)) if places else True


def test_a_short_list_shows_some_masks_of_every_run() -> None:
    """Two runs of four equally probable masks after a single one: the last masks of each run stand for the others."""
    chances = torch.tensor([[0.1, *[0.6 / 4] * 4, *[0.3 / 4] * 4]])
    decoded: list[torch.Tensor] = []

    def decode(index: torch.Tensor) -> torch.Tensor:
        decoded.append(index)
        return torch.zeros(*index.shape, 2, 4, 4)

    model = FinitePredictive(chances.log(), decode, run=4, kept=lambda some: torch.arange(4 - some, 4))
    for n, listed, weights, left_out in [
        (9, 9, [0.15] * 4 + [0.1] + [0.075] * 4, None),
        (5, 5, [0.3, 0.3, 0.15, 0.15, 0.1], None),
        (3, 3, [0.6, 0.3, 0.1], None),
        (2, 2, [2 / 3, 1 / 3], 0.1),
    ]:
        atoms = model.atoms(n)
        assert atoms.weights[0].tolist() == pytest.approx(weights, abs=1e-5)
        assert len(atoms.weights[0]) == listed
        assert (atoms.left_out is None) == (left_out is None)
        assert atoms.share_left_out() == pytest.approx(left_out or 0, abs=1e-5)
    places = [sorted(index[0].tolist()) for index in decoded]
    assert places == [list(range(9)), [0, 3, 4, 7, 8], [0, 4, 8], [4, 8]]
    assert model.coarser(9) is model
    volumes = model.lesion(3, LesionSlices((0.0,)))
    assert volumes.weights[0].tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.01)
