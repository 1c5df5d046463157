"""Structures that nobody has labelled in some cases: they are learned from the others, and measured there."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from unit import small
from unit.test_evaluate import CASE, result
from unit.test_unknown_loss import PLAN

from csam.errors import InputError
from csam.pipeline.sliding_window import mean_probabilities
from csam.training.augment import Example
from csam.training.dataset import inspect, read_dataset
from csam.training.evaluate import measure
from csam.training.loss import cross_entropy_and_dice, merged
from csam.training.measures import dice
from csam.training.model_match import in_values_of
from csam.training.summary import summarise
from csam.training.train import load_example, quick_dice
from csam.training.trainer import Trainer


def test_merged_classes_have_the_sum_of_their_probabilities():
    logits = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([0, 1, 3, 255]).repeat(15).view(2, 1, 5, 6)
    fewer, numbers = merged(logits, truth, (2,))
    whole, parts = logits.softmax(1), fewer.softmax(1)
    assert torch.allclose(parts, torch.stack((whole[:, 0] + whole[:, 2], whole[:, 1], whole[:, 3]), 1), atol=1e-6)
    assert numbers.unique().tolist() == [0, 1, 2, 255]


def test_background_and_what_is_unlabelled_are_not_told_apart():
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    truth = torch.randint(0, 2, (2, 1, 5, 6), generator=torch.Generator().manual_seed(2))
    loss = cross_entropy_and_dice(logits, truth, (2,))
    loss.backward()
    assert torch.isclose(loss, cross_entropy_and_dice(logits[:, [2, 1, 0]], truth, (2,)))
    among = logits.detach()[:, [0, 2]].softmax(1)
    shares = logits.grad[:, [0, 2]] / logits.grad[:, [0, 2]].sum(1, keepdim=True)
    assert torch.allclose(shares, among, atol=1e-3)  # neither is pushed more than it already has


def rings(seed: int, unlabelled=()):
    """A bright square with a grey rim; truth of both, of which a case may lack the rim."""
    made = np.random.default_rng(seed)
    truth = np.zeros((6, 24, 24), np.uint8)
    top, left = made.integers(2, 11, 2)
    truth[:, top : top + 11, left : left + 11] = 2
    truth[:, top + 3 : top + 8, left + 3 : left + 8] = 1
    values = np.array([0.1, 0.8, 0.45])[truth] + made.normal(0, 0.05, truth.shape)
    labels = np.where(np.isin(truth, unlabelled), 0, truth)
    return Example(torch.from_numpy(values.astype(np.float32))[None], torch.from_numpy(labels), unlabelled), truth


def test_a_network_learns_a_structure_from_the_cases_that_have_it():
    examples = [*(rings(seed)[0] for seed in (0, 4)), *(rings(seed, (2,))[0] for seed in (1, 2))]
    trainer = Trainer(replace(PLAN, steps=80), small.network(num_classes=3, num_slices=4), "cpu")
    for step in range(80):
        example = examples[step % len(examples)]
        trainer.train_step(replace(example, values=example.values[:, :4], labels=example.labels[:4].long()))
    network = trainer.averaged_network()
    for seed in (11, 12):
        example, truth = rings(seed)
        found = mean_probabilities(network, example.values, PLAN.field_of_view, "cpu").argmax(1).numpy()
        assert min(dice(found == value, truth == value) for value in (1, 2)) > 0.75
        part = quick_dice(network, rings(seed, (2,))[0], PLAN, "cpu")
        assert part == pytest.approx(dice(found == 1, truth == 1))


def of_balls(folder, unlabelled):
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(info | {"unlabelled": unlabelled}))
    return folder


def test_a_data_set_says_what_its_cases_lack(tmp_path):
    folder = small.dataset(tmp_path, 2)
    names = [case.name for case in read_dataset(folder).cases]
    data = read_dataset(of_balls(folder, {names[0]: ["grey ball"]}))
    assert [case.unlabelled for case in data.cases] == [(2,), ()]
    assert load_example(data.cases[0], PLAN).unlabelled == (2,)


@pytest.mark.parametrize(
    ("unlabelled", "said"),
    [
        (["grey ball"], "was expected"),
        ({"nobody": ["grey ball"]}, "no such case"),
        ({"CASE": ["red ball"]}, "red ball"),
        ({"CASE": ["grey ball", "bright ball"]}, "nothing is labelled"),
    ],
)
def test_what_a_case_lacks_has_to_be_there_to_lack(tmp_path, unlabelled, said):
    folder = small.dataset(tmp_path, 2)
    name = read_dataset(folder).cases[0].name
    if isinstance(unlabelled, dict):
        unlabelled = {case.replace("CASE", name): names for case, names in unlabelled.items()}
    try:
        faults = inspect(of_balls(folder, unlabelled))[1]
    except InputError as error:
        faults = [str(error)]
    assert said in " ".join(faults)


def test_a_case_is_measured_by_what_is_labelled():
    truth = np.zeros((4, 16, 16), np.uint8)
    truth[1:3, 4:8, 4:8] = 1
    found = np.roll(truth, 1, 2)
    found[1:3, 10:14, 4:8] = 2
    error = np.random.default_rng(0).random(truth.shape).astype(np.float32)
    placed = small.placed(truth)
    case = measure(replace(CASE, unlabelled=(2,)), placed, result(found, error, placed), [1, 2])
    assert case.dice == (pytest.approx(dice(truth == 1, found == 1)), None)
    assert case.truth_ml[0] > 0
    assert case.truth_ml[1] is case.hausdorff_mm[1] is None
    assert case.empty_slices_wrong == 0
    assert case.wrong.sum() == ((found == 1) & (truth != 1)).sum()
    assert len(case.wrong) == (found == 1).sum()
    assert not any(case.known_slices)
    assert summarise([case], ["a", "b"])["dice"] == {"a": round(case.dice[0], 4), "b": None}


def test_what_a_case_lacks_is_told_in_the_models_values():
    model = small.model(provenance={"data_labels": ["cavity", "myocardium"]})
    [case] = in_values_of(model, ["myocardium", "cavity"], [replace(CASE, unlabelled=(1,))])
    assert (case.values, case.unlabelled) == ((0, 2, 1), (2,))
