"""Makes images and latents with a trained run, as PNG, GIF and npz files.

    python -m trainer.generate --workdir=DIR --mode=sample

Modes:
    reconstruct   examples of --split beside their reconstructions
    posterior     means of p(x|z), with z drawn from q(z|x) of examples
    sample        means of p(x|z), with z drawn from the prior. With --prior=mixture, z
                  comes from a Gaussian mixture that is fitted to training latents
    decode        the same as sample for z in --latents=FILE: a .npy, a JSON list of
                  lists, or an npz of this command
    transform     an npz of the posteriors of a whole split
    interpolate   images between two examples, --path=linear or spherical
    traverse      images along one latent at a time, also as a GIF; by default along
                  the ten latents of the largest KL divergence
    attributes    the direction of each attribute in latent space. A picture has a row
                  for each attribute, and adds the direction to an example from -limit
                  to limit times. A JSON and a table say how much a step along the
                  direction changes the attribute and the other attributes
    neighbours    the nearest training image of each sample, over the whole split. With
                  --latents=DIR, the stored posterior mean that is nearest to each
                  sample and each example
    project       a whole --split for TensorBoard's projector, which trainer.tensorboard
                  then shows beside the run
    browse        pairs and samples in turn, until the user answers n

The name of a file has the mode, and every flag that is not at its default. A mean of
p(x|z) is an image; for a Bernoulli likelihood it has the probabilities of white, and
draws stand in a second picture. --draws makes that picture for any likelihood.

--where=label=7, --where=label=Alice or --where=Smiling=1 chooses examples. A
conditional model makes its samples with the conditions of these examples.
--image=a.jpg,b.png takes image files in place of examples, for reconstruct, posterior,
transform, interpolate, traverse, attributes and neighbours; --where=label=7 is then
their condition. --latents=DIR reads the posteriors of whole splits that pipeline.encode
wrote, for transform, attributes and --prior=mixture. For neighbours and project, the
latents may belong to other images than the run's.
Exit codes: 0 done; 1 a flag, file or setting is wrong.
"""

import pathlib

from absl import flags, logging

from pipeline.process import entry, path_flags
from pipeline.storage import files
from trainer.cli import command_line
from trainer.generation import requests
from trainer.system import libraries

_DEFAULT = requests.Request("sample")
_WORKDIR = path_flags.define("workdir", None, "Directory of the run.", required=True)
_MODE = flags.DEFINE_enum(
    "mode", _DEFAULT.mode, requests.MODES, "Kind of output to make."
)
_DATASET = path_flags.define(
    "dataset", None, "Directory of the dataset, if it has moved since the training."
)
_OUTPUT = path_flags.define(
    "output", None, "Directory to write to; by default WORKDIR/generated."
)
_SPLIT = flags.DEFINE_string(
    "split",
    None,
    "Split of the examples; by default the split that the training evaluated.",
)
_IMAGE = path_flags.define_list(
    "image",
    None,
    "Image files in place of examples, separated by commas; cropped and resized as the "
    "dataset's images were.",
)
_PREPROCESS = flags.DEFINE_string(
    "preprocess",
    None,
    "MODULE:FUNCTION that made the dataset's images, to be called for --image as well.",
)
_WHERE = flags.DEFINE_string(
    "where",
    None,
    "Feature value of the examples to use, as NAME=VALUE, where VALUE is a number or "
    "the name of a class; any by default.",
)
_NUM = flags.DEFINE_integer(
    "num",
    None,
    "Number of images, examples or steps; by default 9 steps of traverse and "
    "attributes, and 25 of all else.",
    lower_bound=1,
)
_SEED = flags.DEFINE_integer(
    "seed", _DEFAULT.seed, "Seed of all random draws.", lower_bound=0
)
_PRIOR = flags.DEFINE_enum(
    "prior",
    _DEFAULT.prior,
    ["normal", "mixture"],
    "Distribution of the latents of samples.",
)
_NUM_COMPONENTS = flags.DEFINE_integer(
    "num_components",
    _DEFAULT.num_components,
    "Number of components of the mixture prior.",
    lower_bound=1,
)
_LATENTS = path_flags.define(
    "latents",
    None,
    "File of latents to decode, or directory of latents that pipeline.encode wrote.",
)
_PATH = flags.DEFINE_enum(
    "path",
    _DEFAULT.path,
    ["linear", "spherical"],
    "Path of the interpolation between two latents.",
)
_DIMENSIONS = flags.DEFINE_list(
    "dimensions",
    None,
    "Numbers of the latents to traverse; by default the ten of the largest KL "
    "divergence, averaged over 200 examples.",
)
_ATTRIBUTES = flags.DEFINE_list(
    "attributes", None, "Attributes to change; all by default."
)
_LIMIT = flags.DEFINE_float(
    "limit",
    _DEFAULT.limit,
    "Largest change of a latent or an attribute: changes go from -limit to limit.",
)
_DRAWS = flags.DEFINE_boolean(
    "draws",
    None,
    "Whether to draw from p(x|z) beside its mean; by default for a Bernoulli "
    "likelihood only.",
)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    libraries.load_tensorflow()
    from trainer.generation import modes
    from trainer.numerics import exact
    from trainer.runs import trained

    exact.configure()
    try:
        request = requests.Request(
            mode=_MODE.value,
            split=_SPLIT.value,
            image=_IMAGE.value,
            preprocess=_PREPROCESS.value,
            where=_WHERE.value,
            num=_NUM.value or 0,
            seed=_SEED.value,
            prior=_PRIOR.value,
            num_components=_NUM_COMPONENTS.value,
            latents=_LATENTS.value,
            path=_PATH.value,
            dimensions=_DIMENSIONS.value,
            attributes=_ATTRIBUTES.value,
            limit=_LIMIT.value,
            draws=_DRAWS.value,
        )
        requests.check(request)
        run = trained.load(pathlib.Path(_WORKDIR.value), _DATASET.value)
        output = pathlib.Path(_OUTPUT.value or f"{_WORKDIR.value}/generated")
        files.make_directory(output)
        with command_line.damage_explained():
            modes.make(run, request, output)
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(f"written to {output}")


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=command_line.parse_flags)
