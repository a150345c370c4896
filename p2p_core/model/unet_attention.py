"""A UNet's attention layers: where they are, and one processor that records or injects.

Per-step data travels through the call (`cross_attention_kwargs`), so a processor holds nothing but its
`AttentionLayer`, and an abandoned run leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ..attention import AttentionLayer, Term, attend, attention_columns
from ..errors import UnsupportedModel
from ..injection import AttentionContext, Projections

# parts of diffusers' `Attention` that no Stable Diffusion UNet has, and `Processor` leaves out
UNSUPPORTED = (
    *("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k"),
    *("added_kv_proj_dim", "residual_connection"),
)


def find_attention_layers(unet: Any) -> tuple[AttentionLayer, ...]:
    """All attention layers in order of execution. Raises `UnsupportedModel` for one it can't drive."""
    levels = len(unet.config.block_out_channels)
    found: list[tuple[int, AttentionLayer]] = []
    for processor in unet.attn_processors:
        name = processor.removesuffix(".processor")
        attn = unet.get_submodule(name)
        part, _, rest = name.partition(".")
        extra = [what for what in UNSUPPORTED if getattr(attn, what, None)]
        if getattr(attn, "rescale_output_factor", 1) != 1:
            extra.append("rescale_output_factor")
        if part not in ("down_blocks", "mid_block", "up_blocks") or extra:
            having = f" with {', '.join(extra)}" if extra else ""
            raise UnsupportedModel(
                f"Expected the attention layers of a Stable Diffusion UNet; got {name}{having}."
            )
        number = int(rest.split(".")[0]) if part != "mid_block" else 0
        order, halvings = {
            "down_blocks": (number, number),
            "mid_block": (levels, levels - 1),
            "up_blocks": (levels + 1 + number, levels - 1 - number),
        }[part]
        layer = AttentionLayer(
            name=name,
            kind="cross" if attn.is_cross_attention else "self",
            halvings=halvings,
            mid=part == "mid_block",
            heads=attn.heads,
            scale=float(attn.scale),
        )
        found.append((order, layer))
    return tuple(layer for _, layer in sorted(found, key=lambda pair: pair[0]))


class Processor:
    """The attention of one layer: diffusers' own when nothing is asked, else recorded or injected."""

    def __init__(self, layer: AttentionLayer) -> None:
        self.layer = layer

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,  # noqa: ARG002 - diffusers passes it by name
        p2p: AttentionContext | None = None,
    ) -> Tensor:
        """hidden_states (B, N, C), encoder_hidden_states (B, S, d) -> (B, N, C). Nothing is ever masked."""
        x = hidden_states
        text = x if encoder_hidden_states is None else encoder_hidden_states
        if p2p is None:
            out = attend(attn.to_q(x), attn.to_k(text), attn.to_v(text), self.layer)
        else:
            p2p.fired.append(self.layer.name)
            out = self._cross(attn, x, text, p2p) if self.layer.kind == "cross" else self._self(attn, x, p2p)
        return attn.to_out[1](attn.to_out[0](out))  # type: ignore[no-any-return]

    def _self(self, attn: Any, x: Tensor, context: AttentionContext) -> Tensor:
        layer, first = self.layer, len(x) - context.conditional
        q, k, v = attn.to_q(x), attn.to_k(x), attn.to_v(x)
        if context.injection is not None:
            context.injection.into_self(q[first:], k[first:], layer)
        limit = context.record_self_pixels
        if limit is not None and layer.pixels(context.latent) <= limit:
            # A copy, because a view would keep the unconditional half alive.
            rows = slice(first, first + context.record_rows)
            context.recorded.self_[layer.name] = (q[rows].clone(), k[rows].clone())
        return attend(q, k, v, layer)

    def _cross(self, attn: Any, x: Tensor, text: Tensor, context: AttentionContext) -> Tensor:
        layer, first, injection = self.layer, len(x) - context.conditional, context.injection
        q, projections = attn.to_q(x), context.projections or Projections()
        k, v = projections.of(layer.name, lambda: (attn.to_k(text), attn.to_v(text)))
        if context.record_self_pixels is not None:
            rows = slice(first, first + context.record_rows)
            context.recorded.cross[layer.name] = (Term(q[rows].clone(), k[first, None]),)
        if layer.name in context.collect_sites:
            self._collect(q[first:], k[first:], context)
        if injection is None or injection.edits.leaves_maps:
            return attend(q, k, v, layer)
        source = injection.text
        v_source = None
        if source is not None:
            rows_ = source.rows
            v_source = source.projections.of(layer.name, lambda: (attn.to_k(rows_), attn.to_v(rows_)))[1]
        return injection.cross(q, k, v, layer, projections, v_source)

    def _collect(self, q: Tensor, k: Tensor, context: AttentionContext) -> None:
        """Add the maps of groups of tokens: mean over tokens and heads, sum over layers. q, k: of the
        conditional rows."""
        for r, groups in context.collect.items():
            for g, tokens in enumerate(groups):
                if tokens:
                    columns = attention_columns(q[r, None], k[r, None], self.layer, tokens)[0].mean(
                        -1
                    )  # (N,)
                    before = context.collected.get((r, g))
                    context.collected[r, g] = columns if before is None else before + columns


@contextmanager
def installed(
    layers: Mapping[AttentionLayer, Any], processors: Mapping[AttentionLayer, Processor] | None = None
) -> Iterator[None]:
    """Our processors in the layers' modules; the very ones that were there before when it ends, however it
    ends. processors: made before, since they hold nothing but their layer."""
    before: list[tuple[Any, Any]] = []
    try:
        for layer, attn in layers.items():
            before.append((attn, attn.processor))
            attn.set_processor(processors[layer] if processors else Processor(layer))
        yield
    finally:
        for attn, processor in before:
            attn.set_processor(processor)
