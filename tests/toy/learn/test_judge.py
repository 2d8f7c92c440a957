"""Training of the toy SegFormer: its loss falls, and it shares no scene with the other networks."""

import torch

from segkit.toy.learn import judge, lessons, networks
from segkit.toy.learn.course import Course
from segkit.toy.learn.train import FULL, NETWORKS
from segkit.toy.world import CLASSES

SAMPLES = [lessons.lesson(judge.FIRST + number, judge.SIZES) for number in range(8)]


def test_losses_fall() -> None:
    """In both courses; afterwards the network is in evaluation mode."""
    network = networks.segformer(CLASSES)
    coarse: list[float] = []
    fine: list[float] = []

    judge.train_coarsely(network, SAMPLES, Course(16, 4, 5e-3, 0, 30), "cpu", coarse.append)
    judge.train_finely(network, SAMPLES, Course(8, 4, 2e-3, 0), "cpu", fine.append)

    assert (len(coarse), len(fine)) == (16, 8)
    assert sum(coarse[-3:]) < 0.8 * sum(coarse[:3])
    assert sum(fine) / len(fine) < sum(coarse[:3]) / 3
    assert not network[0].training


def test_training_is_repeatable() -> None:
    """Equal seeds give equal weights."""
    weights = []
    for _ in range(2):
        network = networks.segformer(CLASSES, 3)
        judge.train_coarsely(network, SAMPLES, Course(2, 4, 5e-3, 1), "cpu", lambda loss: None)
        weights.append(torch.cat([weight.detach().flatten() for weight in network[0].parameters()]))
    assert torch.equal(*weights)


def test_the_judge_has_scenes_and_a_seed_of_its_own() -> None:
    """No other network is trained on its scenes or starts from its seed."""
    assert max(FULL.lessons.values()) < judge.FIRST
    assert {FULL.seed_of(name) for name in NETWORKS if name != "judge"} == {FULL.seed}
    assert FULL.seed_of("judge: pixels") == FULL.seed_of("judge") != FULL.seed
