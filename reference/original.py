"""A diffusers pipeline as one file, under the weight names of the original Stable Diffusion 1 checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
PLAIN = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_name(name: str, layers: int, attends: list[bool]) -> str:
    """layers: resnets of a down block. attends: whether each up block has attention."""
    found = re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name)
    if found is None:
        mid = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
        if mid is None:
            part, _, last = name.rpartition(".")
            return f"{PLAIN[part]}.{last}"
        kind, n, rest = mid[1], int(mid[2]), mid[3]
        return f"middle_block.{2 * n if kind == 'resnets' else 1}.{_inner(kind, rest)}"
    way, block, kind, n, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    first = block * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.{2 if attends[block] else 1}.{rest}"
    place = f"input_blocks.{first + n + 1}" if way == "down" else f"output_blocks.{first + n}"
    return f"{place}.{0 if kind == 'resnets' else 1}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    part, _, last = rest.rpartition(".")
    return f"{RESNET[part]}.{last}"


def vae_name(name: str, levels: int) -> str:
    """levels: number of resolutions; the decoder's are counted from the end."""
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.resnets\.", lambda found: f"up.{levels - 1 - int(found[1])}.block.", name
    )
    name = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda found: f"up.{levels - 1 - int(found[1])}.upsample.", name
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        place, _, rest = name.partition("mid_block.attentions.0.")
        part, _, last = rest.rpartition(".")
        name = f"{place}mid.attn_1.{ATTENTION[part]}.{last}"
    return name


def save_original(pipe: Any, file: Path) -> None:
    """Write a Stable Diffusion 1 pipeline as one file."""
    config = pipe.unet.config
    attends = ["CrossAttn" in kind for kind in config.up_block_types]
    weights: dict[str, Tensor] = {}
    for name, x in pipe.unet.state_dict().items():
        weights[f"model.diffusion_model.{unet_name(name, config.layers_per_block, attends)}"] = x
    for name, x in pipe.vae.state_dict().items():
        new = vae_name(name, len(pipe.vae.config.block_out_channels))
        weights[f"first_stage_model.{new}"] = x[..., None, None] if ".attn_1." in new and x.dim() == 2 else x
    for name, x in pipe.text_encoder.state_dict().items():
        plain = name if name.startswith("text_model.") else f"text_model.{name}"
        weights[f"cond_stage_model.transformer.{plain}"] = x
    save_file({name: x.contiguous() for name, x in weights.items()}, file)
