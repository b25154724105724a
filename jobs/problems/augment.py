"""DeepOBS' augmentation of CIFAR-10, for a whole batch at once, on the device.

The arithmetic is that of the libraries DeepOBS used (torchvision 0.4 on images of Pillow 6): after
each of the colour operations the pixels are bytes again, and fractions are cut off, so that the
same choices give the same bytes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from jobs.problems.randomness import Jitter

_PAD_PX = 2
_SIDE_PX = 32


def augment(images: Tensor, jitter: Jitter) -> Tensor:
    """Crop, flip and jitter images (B, 3, 32, 32) of bytes.

    Pad by 2 and crop 32 x 32; mirror; then blend with black (brightness), with the mean grey
    (contrast) and with the grey image (saturation) by the image's factors in the image's order.

    Returns:
        Bytes of the same shape.
    """
    device = images.device
    factors = torch.from_numpy(jitter.factors).to(device, non_blocking=True)  # (B, 3)
    order = torch.from_numpy(jitter.order).to(device, non_blocking=True)  # (B, 3)
    pixels = _crop_and_flip(images, jitter).float()
    for which in order.T:  # (B,)
        factor = factors.gather(1, which[:, None])  # (B, 1)
        pixels = _blend(_target(pixels, which), pixels, factor[:, :, None, None])
    return pixels.byte()


def _crop_and_flip(images: Tensor, jitter: Jitter) -> Tensor:
    device = images.device
    padded = functional.pad(images, (_PAD_PX,) * 4)  # (B, 3, 36, 36)
    reach = torch.arange(_SIDE_PX, device=device)
    rows = torch.from_numpy(jitter.top).to(device)[:, None] + reach  # (B, 32)
    columns = torch.from_numpy(jitter.left).to(device)[:, None] + reach  # (B, 32)
    flip = torch.from_numpy(jitter.flip).to(device)[:, None]
    columns = torch.where(flip, columns.flip(1), columns)
    batch = torch.arange(len(images), device=device)
    return padded[
        batch[:, None, None, None],
        torch.arange(3, device=device)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _target(pixels: Tensor, which: Tensor) -> Tensor:
    """The blending partner of each image (B, 3, 32, 32): black, its mean grey, or itself in grey.

    All numbers are whole and below 2^24, so that float32 is exact.
    """
    red, green, blue = pixels.unbind(dim=1)  # (B, 32, 32) each
    grey = ((19595 * red + 38470 * green + 7471 * blue) / 65536).floor()
    mean = (grey.sum(dim=(1, 2), keepdim=True) / _SIDE_PX**2 + 0.5).floor()
    which = which[:, None, None]
    black = grey.new_zeros(())
    return torch.where(which == 0, black, torch.where(which == 1, mean, grey))[:, None]


def _blend(target: Tensor, pixels: Tensor, factor: Tensor) -> Tensor:
    """Blend two images as Pillow's `Image.blend`, also beyond the second; fractions are cut off."""
    return (target + factor * (pixels - target)).clamp(0, 255).floor()
