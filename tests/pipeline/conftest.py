"""Fixtures: small CelebA directories, the real layout, and emulated buckets."""

import dataclasses
import io
import os
import pathlib
import signal
import uuid
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from pipeline.storage import buckets, paths

SPLIT_NUMBERS = {"train": 0, "validation": 1, "test": 2}
ATTRIBUTE_NAMES = ("Bald", "Eyeglasses", "Male")
LANDMARK_NAMES = ("lefteye_x", "lefteye_y")
PLACES = ("local", "s3", "gs")

# A process that a shell starts in the background ignores Ctrl-C. Our commands would
# inherit that, so set the handler here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def encode_image(
    pixels: np.ndarray, image_format: str = "JPEG", mode: str = "RGB"
) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, image_format)
    return file.getvalue()


def face_bytes(seed: int, width: int = 45, height: int = 55) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return encode_image(np.asarray(smooth))


@dataclasses.dataclass
class CelebA:
    """A small data set that a test can change and then write."""

    images: dict[str, bytes]
    split_of: dict[str, str]
    attributes: dict[str, list[int]] | None = None
    landmarks: dict[str, list[int]] | None = None

    def write(
        self,
        root: pathlib.Path,
        *,
        as_folder: bool = False,
        compression: int = zipfile.ZIP_STORED,
    ) -> str:
        root.mkdir(parents=True, exist_ok=True)
        if as_folder:
            (root / "img_align_celeba").mkdir()
            for key, data in self.images.items():
                (root / "img_align_celeba" / key).write_bytes(data)
        else:
            with zipfile.ZipFile(
                root / "img_align_celeba.zip", "w", compression
            ) as archive:
                for key, data in self.images.items():
                    archive.writestr(f"img_align_celeba/{key}", data)
        (root / "list_eval_partition.txt").write_text(
            "".join(
                f"{key} {SPLIT_NUMBERS[split]}\n"
                for key, split in self.split_of.items()
            )
        )
        for name, labels, header in (
            ("list_attr_celeba.txt", self.attributes, ATTRIBUTE_NAMES),
            ("list_landmarks_align_celeba.txt", self.landmarks, LANDMARK_NAMES),
        ):
            if labels is not None:
                lines = [str(len(labels)), " ".join(header)]
                lines += [
                    f"{key}  {' '.join(map(str, r))}" for key, r in labels.items()
                ]
                (root / name).write_text("\n".join(lines) + "\n")
        return str(root)


def celeba_of(num_images: int = 30, *, has_labels: bool = True) -> CelebA:
    keys = [f"{number:06d}.jpg" for number in range(1, num_images + 1)]
    rng = np.random.default_rng(0)
    splits = ("train", "validation", "train", "test", "train")
    return CelebA(
        images={key: face_bytes(number) for number, key in enumerate(keys)},
        split_of={key: splits[number % 5] for number, key in enumerate(keys)},
        attributes={key: rng.choice([-1, 1], 3).tolist() for key in keys}
        if has_labels
        else None,
        landmarks={key: rng.integers(-3, 200, 2).tolist() for key in keys}
        if has_labels
        else None,
    )


@pytest.fixture
def celeba() -> CelebA:
    return celeba_of()


@pytest.fixture(scope="session")
def make_celeba() -> Callable[..., CelebA]:
    return celeba_of


@pytest.fixture
def make_face() -> Callable[..., bytes]:
    return face_bytes


@pytest.fixture
def encode() -> Callable[..., bytes]:
    return encode_image


@pytest.fixture
def input_dir(celeba: CelebA, tmp_path: pathlib.Path) -> str:
    return celeba.write(tmp_path / "raw")


@pytest.fixture(scope="session")
def real_celeba_dir() -> str:
    """Returns the directory of real photographs in CelebA's layout."""
    data = os.environ.get("VAELINE_TEST_DATA")
    if not data or not os.path.isdir(os.path.join(data, "celeba_layout")):
        pytest.skip("needs VAELINE_TEST_DATA, a directory with celeba_layout/")
    return os.path.join(data, "celeba_layout")


@pytest.fixture(scope="session")
def real_mnist_dir() -> str:
    """Returns the directory of MNIST's four files, gzipped."""
    data = os.environ.get("VAELINE_TEST_DATA")
    if not data or not os.path.isdir(os.path.join(data, "mnist")):
        pytest.skip("needs VAELINE_TEST_DATA, a directory with mnist/")
    return os.path.join(data, "mnist")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch) -> Iterator[None]:
    """Hides a cloud machine's credentials; removes flags and clients after a test."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    yield
    buckets.configure(())
    buckets._open_bucket.cache_clear()


@pytest.fixture
def use_s3(s3_endpoint, monkeypatch) -> Callable[[], None]:
    def use() -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ours")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
        buckets.configure(
            [f"--s3_endpoint_url={s3_endpoint}", "--s3_region_name=us-east-1"]
        )

    return use


@pytest.fixture
def s3_root(use_s3) -> str:
    use_s3()
    bucket, _ = buckets.find_bucket(f"s3://b{uuid.uuid4().hex}/")
    bucket._client.create_bucket(Bucket=bucket._name)
    return f"{bucket.url}/root"


@pytest.fixture
def gs_root(gs_endpoint, monkeypatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs_endpoint)
    bucket, _ = buckets.find_bucket(f"gs://b{uuid.uuid4().hex}/")
    bucket._bucket.create()
    return f"{bucket.url}/root"


@pytest.fixture(params=PLACES)
def root(request, tmp_path) -> str:
    if request.param == "local":
        return str(tmp_path / "root")
    return request.getfixturevalue(f"{request.param}_root")


@pytest.fixture(params=PLACES[1:])
def url_root(request) -> str:
    return request.getfixturevalue(f"{request.param}_root")


@pytest.fixture
def upload(url_root) -> Callable[[object], str]:
    """Returns a function that copies a local directory to a bucket."""

    def copy(local: object) -> str:
        root = f"{url_root}/{uuid.uuid4().hex}"
        for entry in paths.walk(str(local)):
            data = paths.read_bytes(paths.join(str(local), entry.name))
            paths.write_bytes(paths.join(root, entry.name), data)
        return root

    return copy
