"""Train the bundled model from scratch: `python -m storybook.train`.

Stages, each resumable and seeded: tokenizer, pictures (drawings on the disk), vae (its encoder), latents,
unet, decoder (with a critic, also from latents as the UNet makes them), guided (a UNet of one row), export.
Not among the usual ones are fast, which teaches a UNet of few steps, and carry, for a run whose tokenizer is
older than the code's. The autoencoder begins as that of an earlier model, and so may the UNet. Every stage
keeps its checkpoint and a JSON-lines log in the run's folder; a stage that is done is skipped, so the command
can simply be given again after a stop.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

import torch

from . import distill, drawings, export, latents, soft, tokenizer, train_decoder, train_unet, train_vae
from .common import Run

FAST_STEPS = 8
MODELS = {"storybook_base": "unet", "storybook": "guided"}  # bundled model: its UNet's folder in the run
STAGES = ("tokenizer", "pictures", "vae", "latents", "unet", "decoder", "guided", "export")
STUDENTS = {"guided": None, "fast": FAST_STEPS}  # stage: the steps that its student is taught
CARRY = "carry"  # not of a training from scratch: a newer tokenizer under the text encoder that is there
# What a machine's minutes are best spent on. "cpu": two cores, overnight. "gpu": one large GPU and the cores
# beside it, 25 minutes; not yet run.
PRESETS: dict[str, dict[str, float]] = {
    "cpu": {
        "pictures": 4_000, "vae_minutes": 8, "vae_batch": 16, "latents": 60_000, "unet_minutes": 600,
        "batch": 32, "rate": 4e-4, "decoder_minutes": 90, "decoder_pictures": 6_000, "part": 8,
        "distill_minutes": 120,
    },
    "gpu": {
        "pictures": 30_000, "vae_minutes": 7, "vae_batch": 128, "latents": 150_000, "unet_minutes": 13,
        "batch": 512, "rate": 1e-3, "decoder_minutes": 3, "decoder_pictures": 10_000, "part": 512,
        "distill_minutes": 5,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/storybook"), help="folder for all work data")
    parser.add_argument(
        "--out", type=Path, default=Path("assets"), help="where export writes storybook and storybook_base"
    )
    parser.add_argument("--stages", default=",".join(STAGES), help="comma-separated")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--bf16", default="auto", choices=("auto", "yes", "no"))
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preset", default="auto", choices=("auto", *PRESETS), help="by the device")
    parser.add_argument("--first", type=Path, help="folder of the first edition to begin with")
    parser.add_argument("--pictures", type=int, help="default: as the preset has it, also below")
    parser.add_argument("--vae-minutes", type=float)
    parser.add_argument("--vae-batch", type=int)
    parser.add_argument("--latents", type=int, help="pictures the UNet is trained on")
    parser.add_argument("--unet-minutes", type=float)
    parser.add_argument("--channels", default="96,192")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, help="peak learning rate of the UNet")
    parser.add_argument("--decoder-minutes", type=float)
    parser.add_argument("--decoder-pictures", type=int, help="whole ones, kept in memory")
    parser.add_argument("--distill-minutes", type=float, help="of each of the stages guided and fast")
    parser.add_argument("--part", type=int, help="of a batch that a core works on at a time")
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
        if stage not in (known := dict.fromkeys((*STAGES, *STUDENTS, CARRY))):
            parser.error(f"stages are {', '.join(known)}; got {stage}")
        minutes = {"vae": args.vae_minutes, "unet": args.unet_minutes, "decoder": args.decoder_minutes}
        minutes |= dict.fromkeys(STUDENTS, args.distill_minutes)
        clock = Run(run, stage, minutes[stage]) if stage in minutes else None
        if clock and clock.done:
            print(f"{stage}: done before")
        elif stage == "tokenizer" and not (run / "tokenizer" / "vocab.json").exists():
            if args.first:  # whose text encoder goes on
                shutil.copytree(args.first / "tokenizer", run / "tokenizer")
            else:
                print("tokenizer:", tokenizer.build(run / "tokenizer", args.seed), "entries")
        elif stage == CARRY:
            print("tokenizer:", tokenizer.carry_over(run, args.seed), "entries")
        elif stage == "pictures":
            drawings.write(run, args.pictures, args.seed)
        elif stage == "latents":
            latents.make_latents(run, args.latents, args.seed, device, bf16=bf16)
        elif clock and stage == "unet":
            train_unet.train(
                clock, device,
                channels=tuple(int(c) for c in args.channels.split(",")), batch=args.batch, part=args.part,
                peak=args.rate, seed=args.seed, bf16=bf16, first=args.first,
            )  # fmt: skip
        elif clock and stage == "vae":
            if args.first is None:
                parser.error("the stage vae begins with the first edition: --first FOLDER")
            train_vae.train(
                clock, device, first=args.first, batch=args.vae_batch, part=args.part, seed=args.seed
            )
        elif clock and stage in STUDENTS:
            distill.train(
                clock, device,
                batch=args.batch, part=args.part, peak=args.rate / 2, seed=args.seed, bf16=bf16,
                steps=STUDENTS[stage],
            )  # fmt: skip
        elif clock:
            made = partial(soft.softened, run, device=device) if (run / "unet").exists() else None
            train_decoder.train(
                clock, device,
                pictures=args.decoder_pictures, batch=max(2, args.vae_batch // 2),  # whole ones, not quarters
                part=max(1, args.part // 4), seed=args.seed, bf16=bf16, softened=made,
            )  # fmt: skip
        elif stage == "export":
            for name, network in MODELS.items():
                export.write(run, args.out / name, network)


def fast_bf16(device: torch.device) -> bool:
    """bfloat16 pays on GPUs and CPUs that multiply it (AMX, AVX-512); on others it is ten times slower."""
    if device.type == "cuda":
        return True
    return any(
        getattr(torch.cpu, name, lambda: False)()
        for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )


if __name__ == "__main__":
    main()
