"""Products of a minibatch's Hessian with vectors, read off the graph of its gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor


def check_gradients(params: Sequence[Tensor], *, need_graph: bool) -> None:
    """Refuse sparse gradients, and gradients without a graph where one is needed.

    Raises:
        RuntimeError: a gradient is sparse or has no graph; the text names a remedy.
    """
    grads = [p.grad for p in params if p.grad is not None]
    if any(grad.is_sparse for grad in grads):
        raise RuntimeError("Preconditioner does not support sparse gradients")
    if need_graph and grads and not any(grad.requires_grad for grad in grads):
        raise RuntimeError(
            "Preconditioner is estimating, but no gradient has a graph. "
            "Please call optimizer.backward(loss) instead of loss.backward()."
        )


def flat_gradients(params: Sequence[Tensor], l2: float) -> list[Tensor]:
    """The gradient of loss plus `l2/2 |w|^2` of each tensor, flat, shape [N]; zero where there is none."""
    gradients = []
    for p in params:
        dtype = torch.promote_types(p.dtype, torch.float32)
        if p.grad is None:
            gradients.append(torch.zeros(p.numel(), dtype=dtype, device=p.device))
            continue
        g = p.grad.detach().reshape(-1).to(dtype)
        gradients.append(g.add(p.detach().reshape(-1), alpha=l2) if l2 else g)
    return gradients


def hessian_vector_product(
    params: Sequence[Tensor], vectors: Sequence[Tensor], l2: float, retain_graph: bool
) -> list[Tensor]:
    """`H v` for the Hessian of loss plus `l2/2 |w|^2` with respect to `params` alone, flat, shapes [N].

    By a second backward pass over the graph of the gradients (create_graph=True).
    """
    outputs, seeds = [], []
    for p, v in zip(params, vectors, strict=True):
        if p.grad is not None and p.grad.requires_grad:
            outputs.append(p.grad)
            seeds.append(v.view_as(p.grad).to(p.grad.dtype))
    inputs = [p for p in params if p.requires_grad]
    if not outputs:
        return [l2 * v for v in vectors]
    found = iter(
        torch.autograd.grad(
            outputs,
            inputs,
            seeds,
            retain_graph=retain_graph,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    products = []
    for p, v in zip(params, vectors, strict=True):
        Hv = next(found).reshape(-1).to(v.dtype) if p.requires_grad else torch.zeros_like(v)
        products.append(Hv.add(v, alpha=l2) if l2 else Hv)
    return products


def release_graph(params: Sequence[Tensor]) -> None:
    """Keep the gradients, let go of their graph: it refers to the parameters, and they to the gradients."""
    for p in params:
        if p.grad is not None:
            p.grad = p.grad.detach()


def unit(vector: Tensor) -> Tensor:
    """`vector / |vector|`; zero where the norm is zero or not finite."""
    norm = torch.linalg.vector_norm(vector)
    return torch.where((norm > 0) & norm.isfinite(), vector / norm, 0)


def random_signs(count: int, seed: int) -> list[float]:
    """`count` signs +1 or -1, a function of the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    return [2.0 * bit - 1.0 for bit in torch.randint(2, (count,), generator=generator).tolist()]


def inner_product(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """`a'b` over all tensors: float64, shape [], on the device of the first."""
    products = [torch.sum(x * y).to(a[0].device, torch.float64) for x, y in zip(a, b, strict=True)]
    return torch.stack(products).sum()
