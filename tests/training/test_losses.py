"""Losses against torch's own and against the formulas they are named after."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from ferdata.training.nets.losses import class_weights, concordance_loss, cross_entropy_sum, focal_sum


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parts_of_a_batch_add_up_to_torch_s_sum(weighted: bool, smoothing: float) -> None:
    """Accumulation and ranks rest on it: sums over parts are the batch's sum."""
    torch.manual_seed(0)
    logits, labels = torch.randn(12, 5, dtype=torch.float64), torch.arange(12) % 5
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25, 3.0]) if weighted else None
    expected = functional.cross_entropy(
        logits.float(), labels, weight=weights, label_smoothing=smoothing, reduction="sum"
    )

    total = sum(
        cross_entropy_sum(logits[rows], labels[rows], weights=weights, smoothing=smoothing)
        for rows in (slice(0, 5), slice(5, 6), slice(6, 12))
    )

    assert float(total) == pytest.approx(float(expected), rel=1e-6)


def test_padding_rows_count_for_nothing() -> None:
    """Their label is -100, and the sum may not know of them."""
    logits = torch.randn(4, 3)
    labels = torch.tensor([0, 2, -100, -100])

    assert float(cross_entropy_sum(logits, labels, weights=None, smoothing=0)) == pytest.approx(
        float(functional.cross_entropy(logits[:2], labels[:2], reduction="sum"))
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_focal_loss_of_gamma_zero_is_cross_entropy(weighted: bool, smoothing: float, mixed: bool) -> None:
    """With all that goes with it: class weights, smoothed and mixed labels, padding."""
    torch.manual_seed(0)
    logits, labels = torch.randn(12, 5), torch.arange(12) % 5
    labels[3] = labels[3] if mixed else -100
    targets = 0.3 * functional.one_hot(labels) + 0.7 * functional.one_hot(labels.roll(1)) if mixed else labels
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25, 3.0]) if weighted else None

    found = focal_sum(logits, targets, weights=weights, smoothing=smoothing, gamma=0)

    expected = cross_entropy_sum(logits, targets, weights=weights, smoothing=smoothing)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_focal_loss_of_two_classes_is_torchvision_s_and_finite_where_the_network_is_certain() -> None:
    """A softmax over (0, x) is a sigmoid of x; the slope of a root at zero is infinite."""
    logits, labels = torch.linspace(-4, 4, 9), torch.arange(9) % 2
    expected = sigmoid_focal_loss(logits, labels.float(), alpha=-1, gamma=2, reduction="sum")

    found = focal_sum(torch.stack([torch.zeros(9), logits], 1), labels, weights=None, smoothing=0, gamma=2)

    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    certain = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal_sum(certain, torch.tensor([0]), weights=None, smoothing=0, gamma=0.5).backward()
    assert certain.grad is not None and certain.grad.isfinite().all()


def test_class_weights_are_inverse_frequencies_with_a_mean_of_one_over_samples() -> None:
    """So that the loss keeps its size; a class without samples weighs nothing instead of infinitely much."""
    counts = [100, 50, 0, 10]

    weights = class_weights(counts)

    assert weights.tolist() == pytest.approx([160 / 300, 160 / 150, 0.0, 160 / 30])
    assert float((weights * torch.tensor(counts)).sum() / 160) == pytest.approx(1.0)


def test_weighted_losses_pull_as_hard_as_asked_whatever_a_batch_holds() -> None:
    """Gradients of batches of 10 out of 90 and 10 samples of two classes add up to nothing at one half each.

    Divided by the weights of each batch, the rare class lost: a network that cannot tell the classes apart said 0.57
    and 0.43.
    """
    labels = torch.tensor([0] * 90 + [1] * 10)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    logits = torch.zeros(2, requires_grad=True)
    weights = class_weights([90, 10])

    for batch in labels.split(10):
        (cross_entropy_sum(logits.expand(len(batch), 2), batch, weights=weights, smoothing=0) / len(batch)).backward()  # type: ignore[no-untyped-call]

    assert logits.grad is not None and logits.grad.abs().max() < 1e-5


def test_concordance_is_lin_s_formula_and_leaves_out_unknown_values() -> None:
    """Checked against NumPy's moments over the samples that have values."""
    rng = np.random.default_rng(0)
    predicted, actual = rng.uniform(-1, 1, (20, 2)), rng.uniform(-1, 1, (20, 2))
    actual[::3, 0] = np.nan
    expected = []
    for column in (0, 1):
        known = ~np.isnan(actual[:, column])
        x, y = predicted[known, column], actual[known, column]
        expected.append(1 - 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))

    loss = concordance_loss(torch.tensor(predicted), torch.tensor(actual))

    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)


def test_concordance_without_known_values_is_zero_with_a_gradient() -> None:
    """A batch without any valence must not turn the weights into NaN."""
    predicted = torch.randn(4, 2, requires_grad=True)

    loss = concordance_loss(predicted, torch.full((4, 2), float("nan")))
    loss.backward()

    assert float(loss.detach()) == 0
    assert predicted.grad is not None
    assert torch.equal(predicted.grad, torch.zeros(4, 2))


def test_concordance_of_equal_values_is_perfect() -> None:
    """Loss 0 at the truth, 1 where predictions are constant."""
    actual = torch.tensor([[0.5, -0.5], [-0.25, 0.75], [0.0, 0.1]])

    assert float(concordance_loss(actual, actual)) == pytest.approx(0, abs=1e-6)
    assert float(concordance_loss(torch.zeros(3, 2), actual)) == pytest.approx(1, abs=1e-6)
