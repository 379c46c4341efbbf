"""Modes of trainer.generate: the images or latents to make, and their files."""

import pathlib

import numpy as np
from absl import logging

from pipeline.process import wording
from trainer.analysis import examples, nearest_images, posteriors
from trainer.analysis.latents import mixture
from trainer.generation import (
    attribute_directions,
    browser,
    latent_ranking,
    output_files,
    own_images,
    sampling,
)
from trainer.generation.requests import MODES, Request
from trainer.models.likelihoods import Bernoulli
from trainer.reporting import image_grid, projector, sample_grids
from trainer.runs import trained


def make(run: trained.TrainedRun, request: Request, output: pathlib.Path) -> None:
    """Makes the files of a mode.

    Args:
        run: Trained run.
        request: Mode and its arguments.
        output: Existing directory for the files.

    Raises:
        ValueError: If an argument does not fit the run, or a file cannot be read.
    """
    path = output / request.name()
    _MAKERS[request.mode](run, request.filled(), path)


def _reconstruct(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    shown = _examples(run, request)
    mean, _ = sampling.encode(run, shown)
    decoded = sampling.decode(run, mean, shown.conditions, request.seed)
    grid = image_grid.compare(shown.images, shown.inputs, decoded.mean)
    _save(run, request, decoded, path, keys=shown.keys)
    output_files.save_png(output_files.named(path, ".png"), grid)


def _posterior(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    shown = _examples(run, request)
    z = sampling.draw_posteriors(run, shown, request.seed)
    _save_predictive(run, request, z, shown.conditions, path, keys=shown.keys)


def _sample(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    if request.prior == "normal":
        z = sampling.draw_prior(run, request.num, request.seed)
    else:
        encoded = posteriors.encode_split(run, run.config.train_split, request.latents)
        posterior = sampling.draw_posterior_of(encoded, request.seed)
        fitted = mixture.fit(posterior, request.num_components, request.seed)
        fitted.save(output_files.named(path, "-mixture.npz"))
        z = fitted.sample(request.num, request.seed)
    _save_predictive(run, request, z, _conditions(run, request), path)


def _decode(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    if request.latents is None:
        raise ValueError("mode=decode needs latents=FILE, a .npy, JSON or npz file")
    z = sampling.load_latents(pathlib.Path(request.latents))
    _save_predictive(run, request, z, _conditions(run, request), path)


def _transform(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    if request.image:
        shown = own_images.examples_of(run, request)
        mean, log_var = sampling.encode(run, shown)
        output_files.save_npz(
            output_files.named(path, ".npz"),
            keys=shown.keys,
            posterior_mean=mean,
            posterior_log_var=log_var,
        )
        return
    encoded = posteriors.encode_split(run, _split(run, request), request.latents)
    output_files.save_npz(
        output_files.named(path, ".npz"),
        keys=encoded.keys,
        posterior_mean=encoded.posterior_mean,
        posterior_log_var=encoded.posterior_log_var,
        **encoded.features,
    )


def _interpolate(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    latents, conditions, keys = _starts(run, request, 2)
    z = sample_grids.interpolate(
        *latents, request.num, spherical=request.path == "spherical"
    )
    decoded = sampling.decode(run, z, conditions, request.seed)
    columns = sample_grids.num_columns(request.num)
    _save(run, request, decoded, path, keys=keys)
    grid = image_grid.tile(decoded.mean, columns)
    output_files.save_png(output_files.named(path, ".png"), grid)
    output_files.save_gif(output_files.named(path, ".gif"), decoded.mean[:, np.newaxis])


def _traverse(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    (start,), conditions, _ = _starts(run, request, 1)
    kl = latent_ranking.kl_per_latent(run, _split(run, request))
    dimensions = latent_ranking.choose(request.dimensions, run.config.latent_dim, kl)
    latents = sample_grids.traverse(start, dimensions, request.limit, request.num)
    z = latents.reshape(-1, latents.shape[-1])
    decoded = sampling.decode(run, z, conditions, request.seed)
    output_files.save_npz(
        output_files.named(path, ".npz"), dimensions=np.array(dimensions), z=latents
    )
    by_row = decoded.mean.reshape(*latents.shape[:2], *decoded.mean.shape[1:])
    rows = [f"latent {number}" for number in dimensions]
    if kl is not None:
        rows = [f"latent {number}\n{kl[number]:.3g} nats" for number in dimensions]
    output_files.save_strips(path, by_row, rows, latents[0, :, dimensions[0]])
    output_files.save_gif(output_files.named(path, ".gif"), by_row.swapaxes(0, 1))


def _attributes(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    if request.image:
        example = own_images.examples_of(run, request)
    else:
        example = examples.find_examples(run, _split(run, request), 1, request.where)
    arithmetic = attribute_directions.explore(
        run,
        example,
        _split(run, request),
        request.attributes,
        request.limit,
        request.num,
        request.seed,
        request.latents,
    )
    output_files.save_attributes(arithmetic, path)


def _neighbours(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    if request.latents is not None:
        _latent_neighbours(
            run, request, path, posteriors.open_latents(run, request.latents)
        )
        return
    if request.image:
        shown = own_images.examples_of(run, request)
        neighbours = nearest_images.in_training(run, shown.images)
        output_files.save_image_neighbours(neighbours, shown, path)
        return
    z = sampling.draw_prior(run, request.num, request.seed)
    samples = sampling.decode(run, z, _conditions(run, request), request.seed).mean
    unseen = examples.find_examples(
        run, _split(run, request), request.num, request.where
    )
    queries = np.concatenate([samples, unseen.images])
    neighbours = nearest_images.in_training(run, queries)
    output_files.save_neighbours(neighbours, z, samples, unseen.keys, path)


def _latent_neighbours(
    run: trained.TrainedRun,
    request: Request,
    path: pathlib.Path,
    latents: posteriors.StoredLatents,
) -> None:
    z = sampling.draw_prior(run, request.num, request.seed)
    samples = sampling.decode(run, z, _conditions(run, request), request.seed).mean
    shown = _examples(run, request)
    mean, _ = sampling.encode(run, shown)
    neighbours = nearest_images.by_latents(latents, np.concatenate([z, mean]))
    output_files.save_latent_neighbours(neighbours, z, samples, shown, path)


def _project(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    directory = path.with_name(f"projector-{_split(run, request)}")
    latents = request.latents and posteriors.open_latents(run, request.latents)
    projector.write_split(directory, run, _split(run, request), latents or None)
    logging.info("written to %s", directory)


def _browse(run: trained.TrainedRun, request: Request, path: pathlib.Path) -> None:
    browser.browse(run, path.parent, _split(run, request), request.where, request.seed)


_MAKERS = dict(
    zip(
        MODES,
        (
            _reconstruct,
            _posterior,
            _sample,
            _decode,
            _transform,
            _interpolate,
            _traverse,
            _attributes,
            _neighbours,
            _project,
            _browse,
        ),
        strict=True,
    )
)


def _split(run: trained.TrainedRun, request: Request) -> str:
    return request.split or run.config.eval_split


def _starts(
    run: trained.TrainedRun, request: Request, num: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns latents to start from, their condition, and the keys of their images.

    The latents are posterior means of the first examples or of the user's images, or
    draws of the prior if the dataset is missing.

    Returns:
        `[num, latent_dim]`; `[1, num_conditions]`; `[num]` strings, or `[0]` for draws.
    """
    if request.image:
        matches = own_images.examples_of(run, request)
        if len(matches.keys) != num:
            raise ValueError(
                f"mode={request.mode} takes {wording.counted(num, 'image')}, but "
                f"`image` has {len(matches.keys)}"
            )
        mean, _ = sampling.encode(run, matches)
        return mean, matches.conditions[:1], matches.keys
    if not run.has_dataset and request.where is None:
        conditions = _conditions(run, request)[:1]
        logging.info(
            "the dataset %s is missing: starting from draws of the prior instead of "
            "examples",
            run.dataset_dir,
        )
        z = sampling.draw_prior(run, num, request.seed)
        return z, conditions, np.zeros([0], "U1")
    matches = examples.find_examples(run, _split(run, request), num, request.where)
    if len(matches.keys) < num:
        where = f" with where={request.where}" if request.where else ""
        raise ValueError(
            f"mode={request.mode} needs two examples, but split "
            f"{_split(run, request)!r} has one{where}: give another `split`"
        )
    mean, _ = sampling.encode(run, matches)
    return mean, matches.conditions[:1], matches.keys


def _examples(run: trained.TrainedRun, request: Request) -> examples.Examples:
    if request.image:
        return own_images.examples_of(run, request)
    return examples.find_examples(run, _split(run, request), request.num, request.where)


def _conditions(run: trained.TrainedRun, request: Request) -> np.ndarray:
    return examples.find_conditions(
        run, _split(run, request), request.num, request.where
    )


def _save_predictive(
    run: trained.TrainedRun,
    request: Request,
    z: np.ndarray,
    conditions: np.ndarray,
    path: pathlib.Path,
    **arrays: np.ndarray,
) -> None:
    decoded = sampling.decode(run, z, conditions, request.seed)
    _save(run, request, decoded, path, **arrays)
    output_files.save_predictive(decoded, path, _kinds(run, request))


def _save(
    run: trained.TrainedRun,
    request: Request,
    decoded: sampling.Predictive,
    path: pathlib.Path,
    **arrays: np.ndarray,
) -> None:
    """Writes latents and images as an npz file, with further arrays by name."""
    images = {kind: getattr(decoded, kind) for kind in _kinds(run, request)}
    output_files.save_npz(
        output_files.named(path, ".npz"), **arrays, z=decoded.z, **images
    )


def _kinds(run: trained.TrainedRun, request: Request) -> list[str]:
    """Returns the names of the images of p(x|z) to show: its mean, and its draws."""
    is_binary = isinstance(run.vae.likelihood, Bernoulli)
    has_draws = is_binary if request.draws is None else request.draws
    return ["probability" if is_binary else "mean", *["sample"] * has_draws]
