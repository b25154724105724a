"""`cifar10_vit`: a small vision transformer for CIFAR-10, in the plain form of Beyer et al. (2022).

Patches as tokens and pre-LN blocks are those of ViT (Dosovitskiy et al. 2021, "An Image is Worth
16x16 Words"). From "Better plain ViT baselines for ImageNet-1k" come fixed sine and cosine
positions, the mean over the tokens in the place of a class token, one linear layer as head, which
begins at zero, and no dropout. Patches of 4 x 4 pixels make 64 tokens; 6 layers, 4 heads and width
128 make 1,197,450 parameters. Images are augmented as in the other problems on CIFAR-10, without
MixUp and RandAugment.
"""

import torch
from torch import Tensor, nn

from jobs.problems import nets
from jobs.problems.randomness import InitialDraws
from jobs.problems.transformer import Block

_PATCH_PX = 4
_SIDE_PATCHES = 32 // _PATCH_PX
_WIDTH = 128
_LAYERS = 6
_HEADS = 4
_WAVELENGTH_RATIO = 10_000  # the positions' longest wave over the shortest
_CUT_NORMAL_SD = 0.87962566  # standard deviation of N(0, 1) cut at two


class Vit(nn.Module):
    """The network: patches to tokens, blocks, the mean over the tokens, ten classes."""

    positions: Tensor  # (64, D)

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, _WIDTH, _PATCH_PX, stride=_PATCH_PX)
        self.blocks = nn.Sequential(
            *[Block(_WIDTH, _HEADS, is_causal=False) for _ in range(_LAYERS)]
        )
        self.norm = nn.LayerNorm(_WIDTH)
        self.head = nn.Linear(_WIDTH, 10)
        self.register_buffer("positions", torch.empty(_SIDE_PATCHES**2, _WIDTH), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 3, 32, 32)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions  # (B, 64, D)
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits


def network(draws: InitialDraws) -> Vit:
    """The initial weights of Beyer et al.: those of Flax, and a head that begins at zero.

    Patches: N(0, 1 / fan-in), cut at two standard deviations before it is scaled. Attention (its
    queries, keys and values each by itself) and dense layers: Xavier uniform. Biases are zero.
    """
    net = nets.empty(Vit)
    net.positions.copy_(positions())
    for name, weight in net.named_parameters():
        if name.startswith("head") or name.endswith("bias"):
            nets.constant(weight, 0.0)
        elif weight.ndim == 1:  # a layer norm's
            nets.constant(weight, 1.0)
        elif weight.ndim == 4:  # the patches'
            sd = weight[0].numel() ** -0.5 / _CUT_NORMAL_SD
            nets.fill(weight, sd * draws.truncated_normal(weight.numel()))
        else:
            outputs, inputs = weight.shape
            outputs //= 3 if "qkv" in name else 1
            nets.fill(weight, nets.uniform(draws, weight, (6 / (inputs + outputs)) ** 0.5))
    return net


def positions() -> Tensor:
    """The sine and cosine of column and row (64, D), a quarter of the width each."""
    quarter = _WIDTH // 4
    frequencies = float(_WAVELENGTH_RATIO) ** -(
        torch.arange(quarter).double() / (quarter - 1)
    )  # (D/4,)
    place = torch.arange(_SIDE_PATCHES).double()
    rows, columns = torch.meshgrid(place, place, indexing="ij")
    x = columns.flatten()[:, None] * frequencies  # (64, D/4)
    y = rows.flatten()[:, None] * frequencies
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1).float()
