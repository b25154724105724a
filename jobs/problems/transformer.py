"""The block that transformers are made of: attention and a dense network, each behind a layer norm.

That is the pre-LN block of GPT-2 (Radford et al. 2019) and of ViT (Dosovitskiy et al. 2021): both
have biases everywhere, four times the width inside the dense network, and the GELU by its tanh.
"""

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention, written out: torch's fused kernels have no second derivative.

    The Preconditioner and other optimizers that ask for Hessian-vector products need it.
    """

    def __init__(self, width: int, heads: int, *, is_causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.is_causal = is_causal  # no token attends to later ones
        self.qkv = nn.Linear(width, 3 * width)  # queries, keys and values
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, D) to the values that each token gathers from the others (B, T, D)."""
        length = tokens.shape[1]
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1))  # (B, T, 3, H, D/H)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # (B, H, T, D/H) each
        scores = (queries * keys.shape[3] ** -0.5) @ keys.transpose(2, 3)  # (B, H, T, T)
        if self.is_causal:
            later = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        gathered = scores.softmax(dim=3) @ values  # (B, H, T, D/H)
        out: Tensor = self.out(gathered.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention, then a dense network, each with a residual connection."""

    def __init__(self, width: int, heads: int, *, is_causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, is_causal=is_causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, D) to tokens (B, T, D)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        found: Tensor = tokens + self.mlp(self.norm2(tokens))
        return found
