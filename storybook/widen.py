"""From the first edition (128 px) to the second (256 px): an autoencoder that begins as the first edition's,
seen through one more level.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import nn


@torch.no_grad()
def widen_vae(new: AutoencoderKL, first: AutoencoderKL) -> AutoencoderKL:
    """Give `new`, of one level more, the weights of `first`.

    Its encoder begins as the first one on the halved picture, its decoder as the first one's enlarged.
    """
    enc, dec = new.encoder, new.decoder
    _halving(enc, first.encoder.conv_in)
    for i, block in enumerate(first.encoder.down_blocks):
        enc.down_blocks[i + 1].load_state_dict(block.state_dict())
    for name in ("mid_block", "conv_norm_out", "conv_out"):
        getattr(enc, name).load_state_dict(getattr(first.encoder, name).state_dict())
    for name in ("quant_conv", "post_quant_conv"):
        getattr(new, name).load_state_dict(getattr(first, name).state_dict())
    for name in ("conv_in", "mid_block", "conv_norm_out", "conv_out"):
        getattr(dec, name).load_state_dict(getattr(first.decoder, name).state_dict())
    for block, theirs in zip(dec.up_blocks, first.decoder.up_blocks, strict=False):
        block.load_state_dict(theirs.state_dict(), strict=False)
    nn.init.dirac_(dec.up_blocks[-2].upsamplers[0].conv.weight)
    dec.up_blocks[-2].upsamplers[0].conv.bias.zero_()
    for resnet in dec.up_blocks[-1].resnets:
        _passing(resnet)
    return new


def _halving(encoder: nn.Module, conv_in: nn.Conv2d) -> None:
    """Make the encoder's first level compute `conv_in` of the halved picture.

    Its own conv_in gives four images: the mean of 2 x 2 pixels from here, of 1 x 2 above, of 2 x 1 at the
    left, and the pixel above at the left. What the downsampler (stride 2, pixels 0..2) reads of them stands
    in for the 3 x 3 halved pixels around.
    """
    channels = conv_in.in_channels
    if encoder.conv_in.out_channels < 4 * channels:
        raise ValueError(
            f"The first level needs {4 * channels} channels; got {encoder.conv_in.out_channels}."
        )
    down, first = encoder.down_blocks[0].downsamplers[0].conv, encoder.conv_in
    for layer in (first, down):
        layer.weight.zero_()
        layer.bias.zero_()
    _passing(encoder.down_blocks[0].resnets[0])
    here, before = slice(1, 3), slice(0, 1)  # rows or columns of a 3 x 3 kernel
    for image, (rows, columns) in enumerate(((here, here), (before, here), (here, before), (before, before))):
        for c in range(channels):
            n = (rows.stop - rows.start) * (columns.stop - columns.start)
            first.weight[image * channels + c, c, rows, columns] = 1 / n
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            image = (y < 0) + 2 * (x < 0)
            at = slice(image * channels, (image + 1) * channels)
            down.weight[:, at, 2 * max(y, 0), 2 * max(x, 0)] += conv_in.weight[:, :, y + 1, x + 1]
    down.bias.copy_(conv_in.bias)


def _passing(resnet: nn.Module) -> None:
    """Make a residual block of equal widths begin as the identity."""
    resnet.conv2.weight.zero_()
    resnet.conv2.bias.zero_()
