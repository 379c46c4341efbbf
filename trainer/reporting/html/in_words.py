"""Sentences that say what a run is and how it went."""

import statistics
from collections.abc import Sequence
from typing import Any

from trainer.reporting.html import run_files, texts
from trainer.reporting.html.run_files import RunFiles
from trainer.reporting.html.texts import number


def describe(run: RunFiles) -> list[str]:
    """Returns what was trained, for how long, and how it went, a sentence each.

    Args:
        run: Files of the run; any part may be missing.
    """
    sentences = [_subject(run), _elbo(run), _latents(run), _speed(run)]
    return [sentence for sentence in sentences if sentence]


def _subject(run: RunFiles) -> str:
    config = run.config
    kinds = []
    if config.get("condition") not in (None, "none"):
        kinds.append("conditional")
    filters = config.get("encoder_filters")
    if isinstance(filters, list):
        kinds.append("convolutional" if filters else "dense")
    latents = ""
    if run_files.is_number(config.get("latent_dim")):
        latents = f" with {number(config['latent_dim'])} latents"
    what = f"{' '.join(['A', *kinds, 'VAE'])}{latents}"
    where = f"on images of “{run.dataset_name}”"
    size = run.dataset_settings.get("image_size")
    if run_files.is_number(size):
        where += f", {number(size)} × {number(size)} pixels"
    if not run.step:
        return f"{what} has begun to train {where}; it has not made a step yet."
    target, seen = run.target_step, ""
    batch_size = config.get("global_batch_size")
    if run_files.is_number(batch_size):
        seen = f" ({number(run.step * batch_size)} images)"
    time = "" if run.busy_secs is None else f" in {texts.duration(run.busy_secs)}"
    if target is None or run.step < target:
        of = "" if target is None else f" of {number(target)}"
        steps = f"{number(run.step)}{of} {_steps(target or run.step)}"
        return f"{what} has trained for {steps}{seen} so far{time}, {where}."
    return (
        f"{what} was trained to the end: {number(run.step)} {_steps(run.step)}{seen}"
        f"{time}, {where}."
    )


def _steps(num: float) -> str:
    return "step" if num == 1 else "steps"


def _elbo(run: RunFiles) -> str:
    first, last, best = (
        run.first_evaluation,
        run.last_evaluation,
        run.best_evaluation,
    )
    if first is None or last is None or best is None:
        return _loss(run)
    name = f"The ELBO of the {last['split']} split"
    if first is last:
        at = number(last["step"])
        return f"{name} is {number(last['elbo'])} nats per image at step {at}."
    if last["elbo"] == first["elbo"] == best["elbo"]:
        return f"{name} stayed at {number(last['elbo'])} nats per image."
    change = "rose" if last["elbo"] > first["elbo"] else "fell"
    told = (
        f"{name} {change} from {number(first['elbo'])} to {number(last['elbo'])} nats "
        "per image"
    )
    if best["elbo"] == last["elbo"]:
        is_done = run.target_step is not None and run.step >= run.target_step
        end = ", its best value: longer training may raise it further"
        return f"{told}{end if is_done else ', its best value so far'}."
    value, step = number(best["elbo"]), number(best["step"])
    return f"{told}. Its best value is {value}, at step {step}."


def _loss(run: RunFiles) -> str:
    """Returns how the training loss changed, for a run without an evaluation."""
    points = run_files.points(run.metrics, "loss").get("train", [])
    if len(points) < 2:
        return ""
    change = "fell" if points[-1][1] < points[0][1] else "did not fall"
    return (
        f"The training loss {change}: from {number(points[0][1])} to "
        f"{number(points[-1][1])}."
    )


def _latents(run: RunFiles) -> str:
    found = _last(run, "active_units")
    total = run.config.get("latent_dim")
    if found is None or not run_files.is_number(total):
        return ""
    if found >= total:
        return "All latents are active: each carries information about the image."
    return (
        f"{number(found)} of {number(total)} latents are active; the others carry no "
        "information about the image."
    )


def _speed(run: RunFiles) -> str:
    speeds = run_files.recent(run.metrics, "images_per_second")
    waits = run_files.recent(run.metrics, "data_wait_percent")
    if not speeds or not waits:
        return ""
    speed, wait = statistics.median(speeds), statistics.median(waits)
    return (
        f"Training processed {number(speed)} images per second and waited for data in "
        f"{number(wait)} % of the time."
    )


def _last(run: RunFiles, name: str) -> Any:
    points = run_files.points(run.metrics, name)
    values: Sequence[tuple[int, float]] = [
        each[-1] for split, each in points.items() if split != "train"
    ]
    return max(values)[1] if values else None
