"""Gradio's own components in the app's colours. System fonts: no request leaves the machine."""

from __future__ import annotations

import gradio as gr

FONT = ("Inter", "ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

_PAIRS = {  # of the style sheet's variables, which know light and dark
    "body_background_fill": "var(--p-bg)",
    "body_text_color": "var(--p-ink)",
    "body_text_color_subdued": "var(--p-mute)",
    "background_fill_primary": "var(--p-card)",
    "background_fill_secondary": "var(--p-well)",
    "border_color_primary": "var(--p-line)",
    "border_color_accent": "var(--p-hot)",
    "block_background_fill": "transparent",
    "block_border_color": "var(--p-line)",
    "block_label_text_color": "var(--p-mute)",
    "block_title_text_color": "var(--p-mute)",
    "input_background_fill": "var(--p-field)",
    "input_background_fill_focus": "var(--p-field)",
    "input_border_color": "var(--p-line)",
    "input_border_color_focus": "var(--p-focus)",
    "input_placeholder_color": "var(--p-mute)",
    "button_primary_background_fill": "var(--p-ink)",
    "button_primary_background_fill_hover": "var(--p-ink-soft)",
    "button_primary_text_color": "var(--p-card)",
    "button_secondary_background_fill": "var(--p-chip)",
    "button_secondary_background_fill_hover": "var(--p-line)",
    "button_secondary_text_color": "var(--p-ink)",
    "color_accent_soft": "var(--p-chip)",
}

THEME = gr.themes.Base(font=FONT, font_mono=MONO, text_size="md", radius_size="lg").set(
    **_PAIRS,
    **{f"{name}_dark": value for name, value in _PAIRS.items()},
    color_accent="var(--p-hot)",
    block_border_width="0px",
    block_border_width_dark="0px",
    block_shadow="none",
    input_shadow="none",
    input_shadow_focus="none",
    button_primary_shadow="none",
    layout_gap="0px",
)
