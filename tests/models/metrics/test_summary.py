"""Figures of a data set and their bootstrap intervals by patient."""

import math

import numpy as np
import pytest

from ambiseg.models.metrics.summary import bootstrap_interval, ratio_of_sums, summarise


def test_undefined_cases_are_left_out():
    figure = summarise(np.array([1.0, np.nan, 3.0]), ["a", "a", "b"], np.random.default_rng(0))
    assert (figure.mean, figure.cases) == (2, 2)
    assert figure.sd == pytest.approx(math.sqrt(2))
    assert figure.low == 1
    assert figure.high == 3


def test_no_defined_case_gives_no_figure():
    figure = summarise(np.array([np.nan]), ["a"], np.random.default_rng(0))
    assert math.isnan(figure.mean)
    assert figure.cases == 0


def test_one_patient_has_no_interval():
    figure = summarise(np.array([1.0, 2.0]), ["a", "a"], np.random.default_rng(0))
    assert figure.mean == 1.5
    assert math.isnan(figure.low)


def test_interval_covers_the_mean_of_correlated_crops():
    """Twenty crops that all show the same patient effect: intervals by patient must cover at about their level."""
    rng = np.random.default_rng(5)
    patients = np.arange(40).repeat(20)
    covered = [
        low <= 0 <= high
        for low, high in (
            bootstrap_interval(rng.normal(size=40).repeat(20) + rng.normal(0, 0.1, 800), patients, rng)
            for _ in range(300)
        )
    ]
    assert 0.90 <= np.mean(covered) <= 0.98


def test_patients_with_more_crops_weigh_more():
    low, high = bootstrap_interval(
        np.array([0.0, 1.0, 1.0, 1.0]), np.array(["a", "b", "b", "b"]), np.random.default_rng(0)
    )
    assert (low, high) == (0, 1)


def test_a_ratio_of_sums_weighs_cases_by_their_denominators():
    figure = ratio_of_sums(
        np.array([1.0, 6.0, 9.0]), np.array([1.0, 3.0, 0.0]), ["a", "b", "c"], np.random.default_rng(0)
    )
    assert (figure.mean, figure.low, figure.high, figure.cases) == (1.75, 1, 2, 2)
    doubled = ratio_of_sums(np.ones(2), np.ones(2), ["a", "a"], np.random.default_rng(0), scale=lambda ratio: 2 * ratio)
    assert doubled.mean == 2
    assert math.isnan(doubled.low)


def test_a_ratio_of_nothing_is_not_defined():
    figure = ratio_of_sums(np.zeros(2), np.zeros(2), ["a", "b"], np.random.default_rng(0))
    assert math.isnan(figure.mean)
    assert figure.cases == 0


def test_a_mean_over_cases_is_the_ratio_with_ones():
    values = np.random.default_rng(1).random(12)
    patients = list("aabbccddeeff")
    mean = summarise(values, patients, np.random.default_rng(0))
    ratio = ratio_of_sums(values, np.ones(12), patients, np.random.default_rng(0))
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((mean.mean, mean.low, mean.high))
