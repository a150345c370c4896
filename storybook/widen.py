"""From the first edition (128 px, 8 channels) to the second (256 px, 16): networks that begin as the first
edition's, seen through one more level, with new channels that are only just heard.
"""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn


@torch.no_grad()
def widen_vae(new: AutoencoderKL, first: AutoencoderKL, noise: float) -> AutoencoderKL:
    """Give `new`, of one level and some channels more, the weights of `first`, and all its latents one noise.

    Its encoder begins as the first one on the halved picture, its decoder as the first one's enlarged.
    """
    old = first.config.latent_channels
    enc, dec = new.encoder, new.decoder
    _halving(enc, first.encoder.conv_in)
    for i, block in enumerate(first.encoder.down_blocks):
        enc.down_blocks[i + 1].load_state_dict(block.state_dict())
    for name in ("mid_block", "conv_norm_out"):
        getattr(enc, name).load_state_dict(getattr(first.encoder, name).state_dict())
    _means(enc.conv_out, first.encoder.conv_out, old)
    _quant(new.quant_conv, first.quant_conv, old, noise)
    _identity(new.post_quant_conv)
    new.post_quant_conv.weight[:old, :old] = first.post_quant_conv.weight
    new.post_quant_conv.bias[:old] = first.post_quant_conv.bias
    dec.conv_in.weight[:, old:] *= 0.5  # heard a little: with 0 neither side would learn to use them
    dec.conv_in.weight[:, :old] = first.decoder.conv_in.weight
    dec.conv_in.bias.copy_(first.decoder.conv_in.bias)
    for name in ("mid_block", "conv_norm_out", "conv_out"):
        getattr(dec, name).load_state_dict(getattr(first.decoder, name).state_dict())
    for block, theirs in zip(dec.up_blocks, first.decoder.up_blocks, strict=False):
        block.load_state_dict(theirs.state_dict(), strict=False)
    _identity(dec.up_blocks[-2].upsamplers[0].conv)
    for resnet in dec.up_blocks[-1].resnets:
        _passing(resnet)
    return new


@torch.no_grad()
def widen_unet(new: UNet2DConditionModel, first: UNet2DConditionModel) -> UNet2DConditionModel:
    """Give `new`, of more channels at its ends, the weights of `first`; it predicts 0 in the new ones."""
    weights = first.state_dict()
    for name in ("conv_in.weight", "conv_out.weight", "conv_out.bias"):
        wide = torch.zeros_like(new.state_dict()[name])
        wide[tuple(slice(n) for n in weights[name].shape)] = weights[name]
        weights[name] = wide
    new.load_state_dict(weights)
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


def _identity(conv: nn.Conv2d) -> None:
    nn.init.dirac_(conv.weight)
    conv.bias.zero_()


def _means(conv: nn.Conv2d, first: nn.Conv2d, old: int) -> None:
    """The encoder's last layer: the first edition's rows; new means begin with a spread of about 1."""
    new = conv.out_channels // 2
    for start, mine in ((0, 0), (old, new)):
        conv.weight[mine : mine + old] = first.weight[start : start + old]
        conv.bias[mine : mine + old] = first.bias[start : start + old]
    conv.weight[old:new] *= 8


def _quant(conv: nn.Conv2d, first: nn.Conv2d, old: int, noise: float) -> None:
    """What follows it: means as in the first edition, new ones as they are, and one noise for all."""
    _identity(conv)
    new = conv.out_channels // 2
    for start, mine in ((0, 0), (old, new)):  # the first edition mixes all its rows
        conv.weight[:old, mine : mine + old] = first.weight[:old, start : start + old]
    conv.bias[:old] = first.bias[:old]
    conv.weight[new:] = 0
    conv.bias[new:] = 2 * math.log(noise)
