"""The results of an own problem are checked before use: its mistakes are named, not averaged."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from jobs.errors import InputError

if TYPE_CHECKING:
    from jobs.problems.problem import Batch, Problem, Split


def check(problem: "Problem") -> None:
    """Check the attributes that `Problem` asks for.

    Raises:
        InputError: names each attribute that is missing or of another kind.
    """
    wanted = (
        ("model", nn.Module, "a torch.nn.Module"),
        ("has_accuracy", bool, "True or False"),
        ("steps_per_epoch", int, "an integer from 1 on"),
        ("batch_size", int, "an integer from 1 on"),
    )
    wrong = [
        f"{name} has to be {words}, it is {getattr(problem, name, 'not set')!r:.60}"
        for name, kind, words in wanted
        if not isinstance(getattr(problem, name, None), kind)
        or (kind is int and getattr(problem, name) < 1)
    ]
    if wrong:
        raise InputError(f"{_name(problem)}: {'; '.join(wrong)}")


def loss(problem: "Problem", batch: "Batch") -> Tensor:
    """The loss to be minimized (0-dim), with its gradient.

    Raises:
        InputError: the problem returned no such loss.
    """
    found, _ = _pair(problem, "loss", problem.loss(batch))
    if not found.requires_grad:
        raise InputError(
            f"{_name(problem)}.batch_loss(): the loss has no gradient: does it depend on the"
            " parameters of `model`, and is it computed without `no_grad` or `detach`?"
        )
    return found


def batch_loss(problem: "Problem", batch: "Batch") -> tuple[Tensor, Tensor | None]:
    """The mean loss of a batch and its accuracy (0-dim each), None without accuracy.

    Raises:
        InputError: the problem returned other values.
    """
    found, accuracy = _pair(problem, "batch_loss", problem.batch_loss(batch))
    if not problem.has_accuracy:
        return found, None
    if accuracy is None:
        raise InputError(
            f"{_name(problem)}.batch_loss() gives no accuracy, but has_accuracy is True"
        )
    return found, accuracy


def means(
    problem: "Problem", split: "Split", results: list[tuple[Tensor, Tensor | None]]
) -> tuple[float, float | None]:
    """The means of the losses and of the accuracies.

    Raises:
        InputError: there is no batch, or an accuracy is not between 0 and 1.
    """
    if not results:
        raise InputError(
            f"{_name(problem)}.evaluation_batches({split!r}) gives no minibatch: each of train,"
            " valid and test needs one at least"
        )
    mean = torch.stack([found for found, _ in results]).double().mean().item()
    shares = [accuracy for _, accuracy in results if accuracy is not None]
    if not shares:
        return mean, None
    share = torch.stack(shares).double().mean().item()
    if not (0.0 <= share <= 1.0 or math.isnan(share)):
        raise InputError(
            f"{_name(problem)}.batch_loss(): the accuracy {share:g} is no share between 0 and 1"
        )
    return mean, share


def next_batch(problem: "Problem", batches: "Iterator[Batch]", epoch: int, index: int) -> "Batch":
    """The minibatch of step `index`.

    Raises:
        InputError: there are fewer minibatches than the problem says.
    """
    try:
        return next(batches)
    except StopIteration:
        raise InputError(
            f"{_name(problem)}.train_batches(epoch={epoch}) ended before its minibatch {index};"
            f" steps_per_epoch says that there are {problem.steps_per_epoch}"
        ) from None


def _pair(problem: "Problem", method: str, given: object) -> tuple[Tensor, Tensor | None]:
    if not isinstance(given, tuple) or len(given) != 2:
        raise InputError(
            f"{_name(problem)}.{method}() has to give the pair (loss, accuracy or None),"
            f" it gives {type(given).__name__}"
        )
    found, accuracy = given
    if not isinstance(found, Tensor) or found.ndim or not found.is_floating_point():
        raise InputError(
            f"{_name(problem)}.{method}(): the loss has to be a floating-point tensor without"
            f" dimensions, the mean over the batch; it is {form(found)}"
        )
    if isinstance(accuracy, int | float):
        accuracy = torch.tensor(float(accuracy), device=found.device)
    if accuracy is not None and (not isinstance(accuracy, Tensor) or accuracy.ndim):
        raise InputError(
            f"{_name(problem)}.{method}(): the accuracy has to be a number, the share of right"
            f" answers in the batch, or None; it is {form(accuracy)}"
        )
    return found, accuracy


def form(value: object) -> str:
    """The form of a value in words: the shape and type of a tensor, else its class."""
    if isinstance(value, Tensor):
        return f"of shape {tuple(value.shape)} and {value.dtype}"
    return f"of type {type(value).__name__}"


def _name(problem: "Problem") -> str:
    return type(problem).__name__
