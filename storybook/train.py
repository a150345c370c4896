"""Train the bundled model from scratch: `python -m storybook.train`.

Stages, each resumable and seeded: tokenizer, vae, latents, unet, decoder (the VAE's decoder alone, a little
longer, also on latents as the UNet makes them), export; and "carry", for a run whose tokenizer is older than
the code's. Every stage keeps its checkpoint and a JSON-lines log in the run's folder; a stage that is done is
skipped, so the command can simply be given again after a stop.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from . import export, tokenizer, unet, vae
from .common import Run

STAGES = ("tokenizer", "vae", "latents", "unet", "decoder", "export")
CARRY = "carry"  # not of a training from scratch: a newer tokenizer under the text encoder that is there
# What a machine's minutes are best spent on. "cpu": two cores with bf16 (AMX), two and a half hours in all.
# "gpu": one large GPU and the cores beside it, 25 minutes; not yet run.
PRESETS: dict[str, dict[str, float]] = {
    "cpu": {
        "vae_minutes": 22, "vae_pictures": 14_000, "vae_batch": 16, "latents": 28_000,
        "unet_minutes": 70, "batch": 32, "rate": 1e-3, "decoder_minutes": 20,
        "decoder_pictures": 2_000,
    },
    "gpu": {
        "vae_minutes": 7, "vae_pictures": 60_000, "vae_batch": 128, "latents": 150_000,
        "unet_minutes": 13, "batch": 512, "rate": 1.5e-3, "decoder_minutes": 2,
        "decoder_pictures": 30_000,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/storybook"), help="folder for all work data")
    parser.add_argument("--out", type=Path, default=Path("assets/storybook"), help="where export writes")
    parser.add_argument("--stages", default=",".join(STAGES), help="comma-separated")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--bf16", default="auto", choices=("auto", "yes", "no"))
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preset", default="auto", choices=("auto", *PRESETS), help="by the device")
    parser.add_argument("--vae-minutes", type=float, help="default: as the preset has it, also below")
    parser.add_argument("--vae-pictures", type=int)
    parser.add_argument("--vae-batch", type=int)
    parser.add_argument("--latents", type=int, help="pictures the UNet is trained on")
    parser.add_argument("--unet-minutes", type=float)
    parser.add_argument("--channels", default="96,192")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, help="peak learning rate of the UNet")
    parser.add_argument("--compile", action="store_true", help="the UNet through torch.compile")
    parser.add_argument("--begin-with", type=Path, help="folder of a trained UNet to go on from")
    parser.add_argument("--decoder-minutes", type=float)
    parser.add_argument("--decoder-pictures", type=int, help="a third of them pixel art")
    args = parser.parse_args()

    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(
        args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    )
    preset = args.preset if args.preset != "auto" else "gpu" if device.type == "cuda" else "cpu"
    for name, value in PRESETS[preset].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    bf16 = args.bf16 == "yes" or (args.bf16 == "auto" and fast_bf16(device))
    run: Path = args.run
    for stage in args.stages.split(","):
        if stage not in (*STAGES, CARRY):
            parser.error(f"stages are {', '.join((*STAGES, CARRY))}; got {stage}")
        minutes = {"vae": args.vae_minutes, "unet": args.unet_minutes, "decoder": args.decoder_minutes}
        clock = Run(run, stage, minutes[stage]) if stage in minutes else None
        if clock and clock.done:
            print(f"{stage}: done before")
        elif stage == "tokenizer" and not (run / "tokenizer" / "vocab.json").exists():
            print("tokenizer:", tokenizer.build(run / "tokenizer", args.seed), "entries")
        elif stage == CARRY:
            print("tokenizer:", tokenizer.carry_over(run, args.seed), "entries")
        elif stage == "latents":
            unet.make_latents(run, args.latents, args.seed, device, bf16=bf16)
        elif clock and stage == "unet":
            channels = tuple(int(c) for c in args.channels.split(","))
            unet.train(
                clock, device,
                channels=channels, batch=args.batch, peak=args.rate, seed=args.seed, bf16=bf16,
                compiled=args.compile, begin_with=args.begin_with,
            )  # fmt: skip
        elif clock and stage == "vae":
            vae.train(
                clock, device,
                pictures=args.vae_pictures, batch=args.vae_batch, seed=args.seed, bf16=bf16,
            )  # fmt: skip
        elif clock:
            soft = partial(unet.softened, run, device=device) if (run / "unet").exists() else None
            vae.train_decoder(
                clock, device,
                pictures=args.decoder_pictures, batch=max(2, args.vae_batch // 4),  # whole ones, not quarters
                seed=args.seed, bf16=bf16, softened=soft,
            )  # fmt: skip
        elif stage == "export":
            export.write(run, args.out)


def fast_bf16(device: torch.device) -> bool:
    """bfloat16 pays on GPUs and on CPUs with AMX; on others it is ten times slower."""
    if device.type == "cuda":
        return True
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AMX" in capabilities or bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


if __name__ == "__main__":
    main()
