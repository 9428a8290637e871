"""`python -m tmp_utils bench`: the comparison, with --gpu AudioLDM-M's size, with --estimate its operations.

With --evening the same as with --gpu, within minutes and into the published table; another evening continues it.
"""

import argparse
from collections.abc import Iterable
from math import inf
from pathlib import Path

CONCEPT = "sitar"
NO_GPU = (
    "no CUDA GPU here, and at AudioLDM-M's size a step takes minutes on a CPU. Run `make bench-gpu` where there "
    "is one (Colab's T4 will do); `python -m tmp_utils bench --gpu --size tiny --device cpu` shows what it prints."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--backbone", help="a pipeline folder, instead of the profile's")
    parser.add_argument("--concept", default=CONCEPT, help=f"concept to learn (default: {CONCEPT})")
    parser.add_argument("--gpu", action="store_true", help="time training at full size, with random weights")
    parser.add_argument("--evening", action="store_true", help="the same, written to data/published/gpu.csv")
    parser.add_argument("--once", action="store_true", help="a backbone's parts once, into data/published/once.csv")
    parser.add_argument("--minutes", type=float, default=8.5, help="with --evening: how long it may take")
    parser.add_argument("--size", default="audioldm-m", choices=("audioldm-m", "tiny"), help="of --gpu and --evening")
    parser.add_argument("--device", help='with --gpu or --evening: "cuda" (default) or "cpu"')
    parser.add_argument(
        "--estimate",
        type=float,
        metavar="TFLOPS",
        help="count the profile paper's operations; print minutes at this rate",
    )


def main(options: argparse.Namespace) -> None:
    """Print each row as soon as it is measured, and write them all as JSON."""
    if options.estimate is not None:
        _estimate(options)
    elif options.once:
        _once(options)
    elif options.evening or options.gpu:
        _gpu(options)
    else:
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    from tmp_utils.commands.bench.compare import compare
    from tmp_utils.files import check_writable, slug, write_json
    from tmp_utils.inputs import concepts, profiles
    from tmp_utils.metrics import embed
    from tmp_utils.model import backbone
    from tmp_utils.runs.place import Place
    from tmp_utils.runs.provenance import provenance

    profile = profiles.load_profile(options.profile)
    path = Place(options.runs_dir, profile.name).runs_dir / f"{slug(f'bench-{profile.name}')}.json"
    check_writable(path)
    if not options.backbone:
        embed.check_embedder(profile.embedder)
    model = backbone.load_backbone(options.backbone or profile)
    embedder = None if options.backbone else embed.load_embedder(profile.embedder, str(model.device))
    rows = []
    print(f"{'':24s} {'ours':>10s} {'public':>10s} {'ratio':>7s}  range")
    for row in compare(model, concepts.load_concept(options.concept), profile, embedder):
        rows.append(row)
        print("\n".join(described(row)), flush=True)
    results = {"profile": options.profile, "backbone": model.id, "rows": rows, **provenance()}
    print(write_json(path, results))


def described(row: dict) -> Iterable[str]:
    """Lines that say a row of the comparison."""
    times = f"{row['ours_s']:9.4f}s {row['public_s']:9.4f}s {row['ratio']:7.2f}"
    yield f"{row['what']:24s} {times}  {row['low']:.2f} to {row['high']:.2f}"
    if "parts" in row:
        total = row["parts"]["total"]
        shares = (f"{part} {seconds / total:.0%}" for part, seconds in row["parts"].items() if part != "total")
        yield f"  loss for the same noise: ours {row['loss_ours']:.6f}, public {row['loss_public']:.6f}"
        yield f"  where our step's {total * 1e3:.0f} ms go: {', '.join(shares)}"
        unet = row["unet"]
        yield (
            f"  UNet: {unet['gflop']:.1f} GFLOP at {unet['gflop_per_s']:.0f} GFLOP/s, {unet['share']:.0%} of the "
            f"machine's matmul peak of {unet['peak_gflop_per_s']:.0f}"
        )


def _gpu(options: argparse.Namespace) -> None:
    import torch

    device = options.device or "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(NO_GPU)
    from tmp_utils.commands.bench.evening import LATE, TABLE, evening
    from tmp_utils.runs.place import Place

    published = options.evening and device == "cuda"  # a try on a CPU is not
    path = TABLE if published else Place(options.runs_dir, options.profile).runs_dir / TABLE.name
    left = 0
    for row in evening(options.size, device, path, minutes=options.minutes if options.evening else inf):
        print(full_size_line(row), flush=True)
        left += row["status"] == LATE
    print(f"{path}: {f'{left} measurements are missing; run the same command again.' if left else 'complete.'}")


def _once(options: argparse.Namespace) -> None:
    if not options.backbone:
        raise ValueError("--once needs --backbone, a pipeline's folder; `make fake-backbone` writes one.")
    from tmp_utils.commands.bench.once import TABLE, once

    for row in once(Path(options.backbone)):
        memory = f"{row['peak_memory_gb']:6.1f} GB" if row["peak_memory_gb"] else ""
        print(f"{row['what']:20s} {row['seconds']:8.1f} s {memory}".rstrip(), flush=True)
    print(TABLE)


def _estimate(options: argparse.Namespace) -> None:
    from tmp_utils.commands.bench.estimate import estimate
    from tmp_utils.inputs.profiles import load_profile

    table = estimate(load_profile("paper"), options.estimate, options.size)
    print(f"One run at the size of {options.size}, profile paper; minutes at {options.estimate:g} TFLOP/s, not timed.")
    print(table.to_string(float_format="{:.2f}".format))


def full_size_line(row: dict) -> str:
    """One line that says a row of `evening`."""
    kind = f"{row['what']:16s} {row['precision']}{' compiled' if row['compiled'] else '':9s} K={row['concepts']:<3d}"
    if row["status"] != "ok":
        return f"{kind} {row['status']}"
    if row.get("largest") is not None:
        return f"{kind} finite, {row['largest']:.3g} at most"
    speed = f"{row['tflop_per_s']:7.2f} TFLOP/s ({row['share_of_peak']:.0%} of peak)" if "tflop_per_s" in row else ""
    memory = f"{row['peak_memory_mb'] / 1e3:6.1f} GB" if row["peak_memory_mb"] else ""
    return f"{kind} {row['seconds']:9.4f} s {speed} {memory}".rstrip()
