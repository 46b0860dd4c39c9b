"""Speed of fit and synthesis with Stable Diffusion's shapes, each trick added to the ones before it.

    python benchmarks/speed.py --csv benchmarks/results/speed.csv
    python benchmarks/speed.py bundled --csv benchmarks/results/speed.csv

The first builds Stable Diffusion 1.5 and 2.1 with random weights and runs, side by side in one process: the
literal algorithm (one image at a time, N calls to invert, 2 N to paint), ours with one trick more a row,
diffusers' StableDiffusionInpaintPipeline with the same steps and batch, and a fit. On a CUDA device at full
size, 512 px and 50 steps; without one reduced, which every line says: a fifth of the channels, 128 px, few
steps. Half precision is bfloat16; a device that does not compute in it does all in float32. U-Net calls are
counted in latents an image; the share is of the matrix product measured here, counting the U-Net alone.

The second runs the bundled model on rendered parts, and gives each row's distance from the same painting
with three times the steps: mean change in grey levels inside the masks. With --fit TARGET --workspace RUNS it
takes a fit of your own and its images.
"""

from __future__ import annotations

import argparse
import csv
import gc
import platform
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from random_diffusion import TEXTS, VERSIONS, build, inpainting_pipeline
from torch.utils.flop_counter import FlopCounterMode

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.backbone import Backbone, quiet_libraries
from augment.backbones.load import load_backbone
from augment.backbones.speed import speed_up
from augment.data.export import MvtecWriter
from augment.data.images import read_image, read_sample, to_rgb
from augment.data.sample import Target
from augment.data.target_place import target_place
from augment.data.targets import resolve_targets
from augment.data.windows import crop, window_around
from augment.devices import has_bfloat16
from augment.jobs.dropping import batches
from augment.jobs.painters import Defect, LocalPainter
from augment.jobs.painting import Painted, as_tensor
from augment.jobs.planning import Planner
from augment.methods.base import TrainingBatch
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import FitConfig, Recipe, SpeedConfig, SynthesizeConfig, load_recipe
from augment.render.sample import CATEGORIES, render_dataset
from augment.training import Trainer, step_generator
from augment.workspace import Workspace

FROM_NOISE = (1.0, 1.0)
PAPER = SynthesizeConfig(
    num_inference_steps=50,
    inversion_calls=None,
    strength=FROM_NOISE,
    temperature=1.0,
    background="predict",
    refinement="attention",
    carry_detail=False,
    batch_size=1,
)


@dataclass
class Row:
    """A line of the results."""

    part: str
    what: str
    images_per_s: float | None = None
    ratio: float | None = None  # to the literal algorithm in the same dtype
    unet_calls: float | None = None  # an image
    peak_gib: float | None = None
    share_of_peak: float | None = None
    distance_levels: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Variant:
    """One way of painting."""

    what: str
    synthesize: SynthesizeConfig
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Scene:
    """Windows to paint on: images (B, 3, R, R) in [0, 1], masks (B, 1, R, R), examples or None."""

    images: torch.Tensor
    masks: torch.Tensor
    examples: torch.Tensor | None = None

    def rows(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        return self.images[rows], self.masks[rows], None if self.examples is None else self.examples[rows]


# --- measuring -------------------------------------------------------------------------------------


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock(device: torch.device) -> float:
    """Seconds; of this process's own work where that is one thread on a CPU, so that others do not count."""
    synchronize(device)
    own = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if own else time.perf_counter()


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], float]]:
    """GiB used at most within it: of the card, else of this process since its start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) / 2**30
    else:
        yield lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of a few large matrix products."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = clock(device)
        a @ b
        best = min(best, clock(device) - started)
    return 2 * side**3 / best


def call_flops(backbone: Backbone, cells: int) -> int:
    """FLOP of one U-Net call on one latent, our two prompts included."""
    z = torch.zeros(1, 4, cells, cells, device=backbone.device)
    condition = torch.zeros(1, 154, backbone.unet.config.cross_attention_dim, device=backbone.device)
    region = AttentionRegion(torch.ones_like(z[:, :1]))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.predict_noise(z, 500, backbone.alphas_cumprod[500], condition, region)
    return counter.get_total_flops()


def painter_of(
    backbone: Backbone, variant: Variant, fit: FitConfig, words: tuple[str, str]
) -> tuple[DisentangledInversion, Counter, Counter]:
    """A method on its own copy of the model, and what it spends: latents of calls; seconds, if asked."""
    own = deepcopy(backbone)
    own.autocast_dtype = variant.dtype
    speed_up(own, variant.speed)
    method = DisentangledInversion(own, *words, fit, variant.synthesize)
    latents, seconds = Counter(), Counter()
    predict = own.predict_noise

    def counted(z, timestep, a_t, condition, *rest):
        is_background = condition.data_ptr() == method.C_2.data_ptr()
        latents["background" if is_background else "defect"] += len(z)
        return predict(z, timestep, a_t, condition, *rest)

    own.predict_noise = counted
    return method, latents, seconds


def forget(method: DisentangledInversion) -> None:
    """What was inverted before is inverted again."""
    if method.sources is not None:
        method.sources.forget()


def split_time(method: DisentangledInversion, seconds: Counter) -> None:
    """From now on time the parts of a painting, waiting for the device at each."""
    backbone = method.backbone

    def timed(function: Callable, name_of: Callable[..., str]) -> Callable:
        def call(*arguments, **named):
            started = clock(backbone.device)
            result = function(*arguments, **named)
            seconds[name_of(*arguments)] += clock(backbone.device) - started
            return result

        return call

    def side(z, timestep, a_t, condition, *rest) -> str:
        return "background calls" if condition.data_ptr() == method.C_2.data_ptr() else "defect calls"

    backbone.predict_noise = timed(backbone.predict_noise, side)
    backbone.encode_images = timed(backbone.encode_images, lambda *_: "encode")
    backbone.decode_latents = timed(backbone.decode_latents, lambda *_: "decode")


def paint_all(method: DisentangledInversion, scene: Scene, count: int) -> torch.Tensor:
    """`count` images in batches of the recipe's size; windows are used again where there are fewer."""
    size, shared, made = method.synthesize.batch_size, method.synthesize.samples_per_source, []
    for start in range(0, count, size):
        numbers = list(range(start, min(start + size, count)))
        rows = [number // shared % len(scene.images) for number in numbers]
        images, masks, examples = (None if x is None else x[rows] for x in vars(scene).values())
        generators = [step_generator(0, number) for number in numbers]
        made.append(method.generate(images, masks, generators, None, examples).images.cpu())
    return torch.cat(made)


def measure(
    backbone: Backbone,
    variant: Variant,
    scene: Scene,
    count: int,
    fit: FitConfig | None = None,
    words: tuple[str, str] = ("bottle", "crack"),
    flops: float = 0.0,
    peak: float = 0.0,
    says_where: bool = False,
) -> tuple[Row, torch.Tensor]:
    """Time one way of painting, on a GPU after a batch to warm up."""
    method, latents, seconds = painter_of(backbone, variant, fit or FitConfig(), words)
    device = backbone.device
    size = variant.synthesize.batch_size
    count = -(-count // size) * size
    if device.type == "cuda":  # chooses kernels, captures, compiles
        paint_all(method, scene, size)
    latents.clear()
    forget(method)
    with peak_memory(device) as used:
        started = clock(device)
        images = paint_all(method, scene, count)
        taken = clock(device) - started
        calls = sum(latents.values())
        row = Row(
            part="synthesize",
            what=variant.what,
            images_per_s=count / taken,
            unet_calls=calls / count,
            peak_gib=used(),
            share_of_peak=calls * flops / taken / peak if peak else None,
        )
    if says_where:
        split_time(method, seconds)
        forget(method)
        started = clock(device)
        paint_all(method, scene, size)
        whole = clock(device) - started
        seconds["the rest"] = whole - sum(seconds.values())
        row.note = ", ".join(f"{name} {100 * part / whole:.0f} %" for name, part in seconds.items())
    del method
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return row, images


# --- Stable Diffusion's shapes ---------------------------------------------------------------------


def ladder(steps: int, batch: int, half: torch.dtype, on_gpu: bool, compiles: bool) -> list[Variant]:
    """Ours, one trick more a row, after the literal algorithm; in half precision, if `half` is any."""
    literal = replace(PAPER, num_inference_steps=steps)
    has_half = half != torch.float32
    dtypes = [torch.float32, half] if has_half else [torch.float32]
    rows = [Variant(f"literal, {str(dtype)[6:]}", literal, dtype=dtype) for dtype in dtypes]

    def add(what: str, speed: dict | None = None, **changes) -> None:
        last = rows[-1]
        rows.append(
            Variant(
                f"+ {what}",
                replace(last.synthesize, **changes),
                replace(last.speed, **(speed or {})),
                dtype=half,
            )
        )

    add("replay (background)", background="replay")
    add("difference refinement", refinement="difference", carry_detail=True)
    add(f"batch of {batch}", batch_size=batch)
    if has_half:
        add("half throughout (speed.half)", {"half": True})
    if on_gpu:
        add("CUDA graph (speed.cuda_graph)", {"cuda_graph": True})
    if compiles:
        add("torch.compile (speed.compile)", {"compile": True})
    add("half the inversion's calls (inversion_calls)", inversion_calls=max(1, steps // 2))
    share = min(4, batch)
    add(f"{share} images a source (samples_per_source)", samples_per_source=share, inversion_calls=None)
    fewer = max(1, round(steps * 0.4))
    add(f"dpm++2m, {fewer} steps (solver)", solver="dpm++2m", num_inference_steps=fewer)
    return rows


def run_shapes(options: argparse.Namespace, device: torch.device, results: Results) -> None:
    """Everything for the versions asked for."""
    half = torch.bfloat16 if has_bfloat16(device) else torch.float32
    peak = matmul_peak(device, half)
    print(f"{str(half)[6:]} matrix product: {peak / 1e12:.3f} TFLOP/s", flush=True)
    for version in options.model:
        backbone = build(version, device, narrow=options.narrow)
        part = f"SD {version}" + (f", channels / {options.narrow}" if options.narrow > 1 else "")
        generator = torch.Generator().manual_seed(0)
        size = options.resolution
        masks = torch.zeros(options.batch, 1, size, size)
        masks[:, :, size // 4 : size // 2, size // 4 : 5 * size // 8] = 1
        images = torch.rand(options.batch, 3, size // 32, size // 32, generator=generator)
        images = torch.nn.functional.interpolate(images, size=(size, size), mode="bicubic").clamp(0, 1)
        scene = Scene(images, masks)
        flops = call_flops(backbone, size // 8)
        literal = None
        for variant in ladder(options.steps, options.batch, half, device.type == "cuda", options.compile):
            count = options.images if variant.synthesize.batch_size > 1 else max(1, options.images // 4)
            says_where = not variant.what.startswith("literal")
            row, _ = measure(backbone, variant, scene, count, flops=flops, peak=peak, says_where=says_where)
            if variant.what.startswith("literal"):
                literal = row.images_per_s
            row.part, row.ratio = part, row.images_per_s / literal
            results.add(row)
        for guidance in (1.0, 7.5):
            row = diffusers_row(backbone, version, scene, options, half, guidance)
            row.part, row.ratio = part, row.images_per_s / literal
            results.add(row)
        for row in end_to_end(backbone, options, half):
            row.part, row.ratio = part, row.images_per_s / literal
            results.add(row)
        row = fit_row(backbone, options, half)
        row.part = part
        results.add(row)
        del backbone
        gc.collect()


def diffusers_row(
    backbone: Backbone,
    version: str,
    scene: Scene,
    options: argparse.Namespace,
    dtype: torch.dtype,
    guidance: float,
) -> Row:
    """diffusers' inpainting pipeline on the same windows."""
    pipeline = inpainting_pipeline(deepcopy(backbone), version, options.narrow, dtype)

    def run() -> None:
        pipeline(
            prompt=[TEXTS[0]] * len(scene.images),
            image=scene.images.to(dtype),
            mask_image=scene.masks.to(dtype),
            height=options.resolution,
            width=options.resolution,
            num_inference_steps=options.steps,
            strength=1.0,
            guidance_scale=guidance,
            output_type="pt",
        )

    batches = max(1, options.images // len(scene.images))
    run()
    with peak_memory(backbone.device) as used:
        started = clock(backbone.device)
        for _ in range(batches):
            run()
        taken = clock(backbone.device) - started
        return Row(
            "",
            f"diffusers inpainting, guidance {guidance:g}, {str(dtype)[6:]}, batch of {len(scene.images)}",
            batches * len(scene.images) / taken,
            unet_calls=options.steps * (2 if guidance > 1 else 1),
            peak_gib=used(),
        )


def end_to_end(backbone: Backbone, options: argparse.Namespace, dtype: torch.dtype) -> list[Row]:
    """Reading, planning, painting, pasting and writing PNGs: in turn, and overlapped. Wall time."""
    own = deepcopy(backbone)
    own.autocast_dtype = dtype
    steps = options.steps
    synthesize = SynthesizeConfig(num_inference_steps=steps, inversion_calls=None, strength=FROM_NOISE)
    recipe = replace(Recipe(), synthesize=replace(synthesize, batch_size=options.batch))
    recipe = replace(recipe, backbone=replace(recipe.backbone, resolution=options.resolution))
    speed_up(own, SpeedConfig(half=True, cuda_graph=True))
    method = DisentangledInversion(own, "bottle", "crack", FitConfig(), recipe.synthesize)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        target = rendered_target(Path(folder), size=2 * options.resolution)
        for overlap in (0, 1):
            timed = replace(recipe, speed=replace(recipe.speed, overlap=overlap))
            plans = Planner.of(target, Trained(target), timed, seed=0)
            writer = MvtecWriter(Path(folder) / str(overlap), "bottle")

            def keep(batch, plans, painted, writer=writer) -> None:
                for ((index, _), _), plan, pieces in zip(batch, plans, painted, strict=True):
                    result = Painted.of(plan.image(), pieces)
                    writer.write(target.defect, index, result.image, result.mask)

            work = [*batches([(i, 0) for i in range(options.images)], options.batch)]
            painter = GivenPainter(timed, method)
            painter.paint(Defect(plans, Path(folder)), work[:1], keep)
            started = time.perf_counter()
            painter.paint(Defect(plans, Path(folder)), work, keep)
            taken = time.perf_counter() - started
            what = f"end to end, PNGs of {2 * options.resolution} px, speed.overlap={overlap}"
            rows.append(Row("", what, len(work) * options.batch / taken, unet_calls=2 * steps))
    return rows


@dataclass(frozen=True)
class Trained:
    """What a planner asks of a fit: which images it has seen; all."""

    target: Target

    def info(self) -> dict:
        return {"training": [self.target.name_of(sample) for sample in self.target.samples]}


class GivenPainter(LocalPainter):
    """Paints with a method that is there already."""

    def __init__(self, recipe: Recipe, method: DisentangledInversion):
        super().__init__(recipe, "cpu", "float32", recipe.memory)
        self._given = method

    def _method(self, defect: Defect) -> DisentangledInversion:
        return self._given


def fit_row(backbone: Backbone, options: argparse.Namespace, dtype: torch.dtype) -> Row:
    """A full fit at batch 4, as the paper has it; a few of its iterations where there is no GPU."""
    own = deepcopy(backbone)
    own.autocast_dtype = dtype
    fit = FitConfig(regulariser_batch_size=None, crop_share=0.0, normal_batch_size=0)
    method = DisentangledInversion(own, "bottle", "crack", fit, PAPER)
    trainer = Trainer(own.unet.train(), learning_rate=5e-6)
    cells = options.resolution // 8
    generator = torch.Generator().manual_seed(0)
    z_0 = torch.randn(4, 4, cells, cells, generator=generator).to(own.device)
    m = torch.zeros(4, 1, cells, cells, device=own.device)
    m[:, :, cells // 4 : cells // 2, cells // 4 : cells // 2] = 1

    def step() -> None:
        trainer.step(lambda number: method.loss(TrainingBatch(z_0, m, 4), step_generator(0, number)))

    step()
    with peak_memory(own.device) as used:
        started = clock(own.device)
        for _ in range(options.iterations):
            step()
        taken = (clock(own.device) - started) / options.iterations * 500
        row = Row("", "fit, 500 iterations, batch 4", peak_gib=used())
    row.note = f"{taken:.0f} s" + (f", from {options.iterations}" if options.iterations != 500 else "")
    return row


# --- the bundled model -----------------------------------------------------------------------------


def run_bundled(options: argparse.Namespace, device: torch.device, results: Results) -> None:
    """Tricks and their distances on the bundled model."""
    with tempfile.TemporaryDirectory() as folder:
        if options.fit is None:
            target = rendered_target(Path(folder), size=256)
            recipe, unet_folder = load_recipe("tiny"), None
        else:
            (target,) = resolve_targets([options.fit], None)
            unet_folder = Workspace(options.workspace).fit_folder(target.key, 0)
            recipe = Recipe.read(unet_folder / "recipe.yaml")
        backbone = load_backbone(recipe.backbone, str(device), "float32", unet_folder=unet_folder)
        scene = windows_of(target, recipe, options.images)
    words = target.category.words, target.category.defect_words[target.defect]
    shipped = replace(recipe.synthesize, batch_size=options.images)
    ours = replace(shipped, strength=FROM_NOISE)
    steps = ours.num_inference_steps
    literal = replace(
        ours, background="predict", inversion_calls=None, refinement="none", carry_detail=False, batch_size=1
    )
    plain = replace(ours, inversion_calls=None, refinement="none", carry_detail=False)
    fewer = max(1, round(steps * 0.5))
    rows = [
        Variant(f"literal, {steps} steps, batch 1", literal),
        Variant("+ replay", replace(plain, batch_size=1)),
        Variant(f"+ batch of {ours.batch_size}", plain),
        Variant("+ difference refinement, detail carried", replace(ours, inversion_calls=None)),
        Variant("+ half the inversion's calls: as shipped, but from noise", ours),
        Variant(f"dpm++2m, {fewer} steps", replace(ours, solver="dpm++2m", num_inference_steps=fewer)),
        Variant(f"ddim, {fewer} steps", replace(ours, num_inference_steps=fewer)),
        Variant("4 images a source", replace(ours, samples_per_source=4)),
        Variant("as shipped: from a real defect", shipped),
    ]
    if options.dtype == "bfloat16":
        rows.append(Variant("as shipped, bfloat16", shipped, dtype=torch.bfloat16))
    references: dict[tuple, torch.Tensor] = {}
    base = None
    inside = scene.masks.expand_as(scene.images) > 0
    for variant in rows:
        row, images = measure(backbone, variant, scene, options.images, recipe.fit, words)
        strength, base = variant.synthesize.strength, base or row.images_per_s
        if variant.synthesize.samples_per_source == 1:  # else it paints on other windows
            if strength not in references:
                exact = replace(plain, num_inference_steps=3 * steps, strength=strength)
                method, *_ = painter_of(backbone, Variant("", exact), recipe.fit, words)
                references[strength] = paint_all(method, scene, options.images)
            change = (images - references[strength]).abs()
            row.distance_levels = 255 * float(change[inside].mean())
        row.part, row.ratio = f"bundled, {target.key}", row.images_per_s / base
        results.add(row)


def rendered_target(folder: Path, size: int) -> Target:
    """A defect of a rendered category."""
    name = next(iter(CATEGORIES))
    root = render_dataset(
        folder / "sample", {name: CATEGORIES[name]}, n_train=8, n_good=1, n_defect=4, size=size
    )
    return resolve_targets([str(root / name / CATEGORIES[name].defects[0])], None)[0]


def windows_of(target: Target, recipe: Recipe, count: int) -> Scene:
    """Windows of good images with target masks in them; the masks' own images, in place, are the examples."""
    masks = [read_sample(sample)[1] for sample in target.samples]
    size, good = recipe.backbone.resolution, target.category.train_good
    cuts = []
    for index in range(count):
        rng = np.random.default_rng(index)
        image = read_image(good[index % len(good)].image)
        mask = target_place(masks, image.shape[:2], recipe.synthesize.masks, rng).mask
        window = window_around(mask, recipe.window)
        shown = to_rgb(read_image(target.samples[index % len(masks)].image))
        shown = shown if shown.shape[:2] == image.shape[:2] else to_rgb(image)
        cuts.append(
            (
                crop(to_rgb(image), window, size),
                crop(mask, window, size, is_mask=True),
                crop(shown, window, size),
            )
        )
    images, places, examples = zip(*cuts, strict=True)
    pixels = torch.from_numpy(np.stack(places))[:, None].float()
    return Scene(as_tensor(images), pixels, as_tensor(examples))


# --- results ---------------------------------------------------------------------------------------


class Results:
    """The rows so far; each is printed and written as soon as it is known.

    Args:
        path: a CSV to append to; None: none.
        setting: what holds for all rows: size, machine, torch.
    """

    def __init__(self, path: Path | None, setting: dict[str, str]):
        self.rows: list[Row] = []
        self._path, self._setting = path, setting

    def add(self, row: Row) -> None:
        """Take a row."""
        self.rows.append(row)
        cells = [
            f"{row.part}: {row.what}",
            f"{row.images_per_s:.3g} images/s" if row.images_per_s else "",
            f"{row.ratio:.2f}x" if row.ratio else "",
            f"{row.unet_calls:.4g} calls" if row.unet_calls else "",
            f"{row.peak_gib:.2f} GiB" if row.peak_gib else "",
            f"{100 * row.share_of_peak:.0f} % of peak" if row.share_of_peak else "",
            f"{row.distance_levels:.2f} levels off" if row.distance_levels is not None else "",
            row.note,
        ]
        print("; ".join(filter(None, cells)), flush=True)
        if self._path is None:
            return
        values = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
        is_new = not self._path.exists()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, [*values, *self._setting])
            if is_new:
                writer.writeheader()
            writer.writerow(values | self._setting)


def main(arguments: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["shapes", "bundled"], default="shapes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", nargs="+", choices=VERSIONS, default=list(VERSIONS))
    parser.add_argument("--narrow", type=int, help="divide the channels [1 on a GPU, else 5]")
    parser.add_argument("--resolution", type=int, help="pixels [512 on a GPU, else 128]")
    parser.add_argument("--steps", type=int, help="[50 on a GPU, else 5]")
    parser.add_argument("--batch", type=int, help="[16 on a GPU, else 4]")
    parser.add_argument("-n", "--images", type=int, help="images timed a row [64 on a GPU, else 4]")
    parser.add_argument("--iterations", type=int, help="of the fit [500 on a GPU, else 2]")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--fit", help="bundled: path/to/DATASET/CATEGORY/DEFECT that is fitted")
    parser.add_argument("--workspace", type=Path, help="bundled: of that fit")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="bundled")
    parser.add_argument("--csv", type=Path, help="append the results to this file")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    quiet_libraries()
    full = {"narrow": 1, "resolution": 512, "steps": 50, "batch": 16, "images": 64, "iterations": 500}
    small = {"narrow": 5, "resolution": 128, "steps": 5, "batch": 4, "images": 4, "iterations": 2}
    for name, value in (full if device.type == "cuda" else small).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    if device.type != "cuda":
        count = torch.get_num_threads()
        machine += f", {count} threads" if count > 1 else ", 1 thread, its own time"
    if options.what == "bundled":
        size = "bundled model at its own size"
    elif all(getattr(options, name) == full[name] for name in ("narrow", "resolution", "steps")):
        size = "full size"
    else:
        size = f"reduced: channels / {options.narrow}, {options.resolution} px, {options.steps} steps"
    print(f"{size}; {machine}", flush=True)
    results = Results(options.csv, {"size": size, "machine": machine, "torch": torch.__version__})
    (run_bundled if options.what == "bundled" else run_shapes)(options, device, results)
    return results.rows


if __name__ == "__main__":
    main()
