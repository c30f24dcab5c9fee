"""The hierarchical world against its population, embedded MNIST, and full MNIST from small files made here."""

import gzip
import hashlib
import struct

import numpy as np
import pooch
import pytest
import requests

from dlnutils import datasets
from dlnutils.linear_networks import correlations

pytestmark = pytest.mark.filterwarnings("error")


# --- hierarchical diffusion -----------------------------------------------------------------------------------------

def leaf_similarity(levels, flip, branching=2):
    """Covariance of the leaves' features: (1 - 2 flip)^2 for every level below the nearest common ancestor."""
    leaves = np.arange(branching**levels)
    height = sum(leaves[:, None] // branching**k != leaves // branching**k for k in range(levels))
    return (1 - 2 * flip)**(2 * height)


@pytest.mark.parametrize("levels, branching", [(0, 2), (1, 2), (5, 2), (3, 3)])
def test_hierarchical_dataset_holds_signs(levels, branching):
    Y = datasets.hierarchical_dataset(levels, 0.1, 200, branching, rng=np.random.default_rng(0))
    assert Y.shape == (200, branching**levels) and set(np.unique(Y)) == {-1.0, 1.0}
    again = datasets.hierarchical_dataset(levels, 0.1, 200, branching, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(Y, again)
    assert np.linalg.norm(Y)**2 == pytest.approx(Y.size)   # sum of squared singular values


@pytest.mark.parametrize("levels, flip, branching", [(5, 0.1, 2), (3, 0.3, 2), (3, 0.05, 3)])
def test_hierarchical_dataset_has_the_population_covariance(levels, flip, branching):
    Y = datasets.hierarchical_dataset(levels, flip, 50_000, branching, rng=np.random.default_rng(1))
    np.testing.assert_allclose(Y @ np.ones(branching**levels) @ np.ones(50_000) / Y.size, 0, atol=0.02)
    np.testing.assert_allclose(Y.T @ Y / 50_000, leaf_similarity(levels, flip, branching), atol=5 / 50_000**0.5)


@pytest.mark.parametrize("levels", [1, 2, 5, 7])
@pytest.mark.parametrize("flip", [0.0, 1e-9, 0.02, 0.1, 0.37, 0.5])
def test_population_singular_values_are_those_of_the_covariance(levels, flip):
    values, multiplicities = datasets.hierarchical_singular_values(levels, flip, 1000)
    assert multiplicities.tolist() == [1] + [2**k for k in range(levels)]
    assert multiplicities.sum() == 2**levels and np.all(np.diff(values) <= 0)
    assert multiplicities @ values**2 == pytest.approx(1000 * 2**levels, rel=1e-13)
    eigenvalues = np.linalg.eigvalsh(leaf_similarity(levels, flip))[::-1]
    np.testing.assert_allclose(np.repeat(values, multiplicities)**2, 1000 * eigenvalues, rtol=1e-10, atol=1e-9)


def test_population_singular_values_against_draws():
    """Repulsion spreads the equal values of a level, so compare the root mean square of each."""
    values, multiplicities = datasets.hierarchical_singular_values()
    rng = np.random.default_rng(2)
    draws = np.array([np.linalg.svd(datasets.hierarchical_dataset(rng=rng), compute_uv=False) for _ in range(60)])
    levels = np.split((draws**2).mean(0), np.cumsum(multiplicities)[:-1])
    np.testing.assert_allclose([level.mean()**0.5 for level in levels], values, rtol=0.015)


def test_flip_limits():
    Y = datasets.hierarchical_dataset(4, 0.0, 50, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(Y, Y[:, :1] * np.ones(16))               # nothing ever flips
    np.testing.assert_allclose(datasets.hierarchical_singular_values(4, 0.0, 50)[0], [800**0.5, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(datasets.hierarchical_singular_values(4, 0.5, 50)[0], 50**0.5, rtol=1e-13)   # white


@pytest.mark.parametrize("function", [lambda **k: datasets.hierarchical_dataset(rng=np.random.default_rng(0), **k),
                                      datasets.hierarchical_singular_values])
@pytest.mark.parametrize("name, value", [("flip", -0.01), ("flip", 0.51), ("flip", np.nan), ("levels", -1), ("levels", 2.5),
                                         ("n_features", 0), ("n_features", "many")])
def test_bad_tree_is_named(function, name, value):
    with pytest.raises(ValueError, match=rf"^{name} .*{value}"):
        function(**{name: value})


def test_bad_branching_is_named():
    with pytest.raises(ValueError, match="branching .* 1"):
        datasets.hierarchical_dataset(branching=1, rng=np.random.default_rng(0))


# --- one-hot --------------------------------------------------------------------------------------------------------

def test_one_hot():
    labels = np.array([3, 0, 0, 9])
    rows = datasets.one_hot(labels)
    assert rows.shape == (4, 10) and rows.argmax(1).tolist() == labels.tolist() and rows.sum() == 4 and rows.max() == 1
    assert datasets.one_hot(np.array([], dtype=int), 3).shape == (0, 3)


@pytest.mark.parametrize("labels, shown", [([0, 3], "3"), ([-1, 0], "-1"), ([0.0, 1.0], "float"), ([True], "bool"),
                                           (["1"], "U1")])
def test_one_hot_refuses_what_is_no_label(labels, shown):
    with pytest.raises(ValueError, match=rf"labels .*from 0 to 2.*{shown}"):
        datasets.one_hot(labels, 3)


# --- embedded MNIST -------------------------------------------------------------------------------------------------

def test_embedded_mnist():
    images, labels = datasets.mnist()
    assert images.shape == (5000, 784) and labels.shape == (5000,) and labels.dtype.kind == "i"
    assert images.min() == 0 and images.max() == 1
    assert np.bincount(labels).tolist() == [500] * 10


@pytest.mark.parametrize("n_images", [10, 100, 330, 5000])
def test_subsets_of_the_embedded_mnist_are_balanced(n_images):
    images, labels = datasets.mnist(n_images=n_images)
    assert images.shape == (n_images, 784) and np.bincount(labels).tolist() == [n_images // 10] * 10
    assert len(np.unique(images, axis=0)) == n_images


@pytest.mark.parametrize("pixels", [1, 2, 4, 7, 14])
def test_pooling_takes_means_of_squares(pixels):
    full, labels = datasets.mnist(n_images=20)
    images, same = datasets.mnist(pixels=pixels, n_images=20)
    block = 28 // pixels
    squares = [[full.reshape(-1, 28, 28)[:, i * block:(i + 1) * block, j * block:(j + 1) * block].mean((1, 2))
                for j in range(pixels)] for i in range(pixels)]
    np.testing.assert_allclose(images, np.moveaxis(squares, -1, 0).reshape(20, -1), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(same, labels)


@pytest.mark.parametrize("pixels, s, d, optimum", [
    (14, [0.942, 0.259, 0.234, 0.210, 0.145, 0.133, 0.114, 0.090, 0.066, 0.058],
     [9.385, 0.969, 0.830, 0.656, 0.460, 0.421, 0.381, 0.241, 0.205, 0.170], 0.1935),
    (28, [1.900], [38.23], 0.1656)])
def test_known_statistics_of_mnist(pixels, s, d, optimum):
    images, labels = datasets.mnist(pixels=pixels)
    sigma31, sigma11 = correlations(images, datasets.one_hot(labels))
    _, values, Vt = np.linalg.svd(sigma31, full_matrices=False)
    np.testing.assert_allclose(values[:len(s)], s, atol=5.1e-4)
    digits = 5.1e-4 if pixels == 14 else 5.1e-3
    np.testing.assert_allclose(np.sum(Vt @ sigma11 * Vt, axis=1)[:len(d)], d, atol=digits)
    captured = np.sum(sigma31 * (sigma31 @ np.linalg.pinv(sigma11, rcond=1e-10, hermitian=True)))
    assert 0.5 - 0.5 * captured == pytest.approx(optimum, abs=5.1e-5)      # half error a sample of least squares


@pytest.mark.parametrize("options, message", [
    ({"source": "fashion"}, "source .* 'fashion'"), ({"split": "validation"}, "split .* 'validation'"),
    ({"split": "test"}, "split 'test'"), ({"pixels": 13}, "pixels .* 13"), ({"pixels": 0}, "pixels .* 0"),
    ({"pixels": 56}, "pixels .* 56"), ({"n_images": 5001}, "n_images .* 5001"), ({"n_images": 0}, "n_images .* 0"),
    ({"n_images": 2.5}, r"n_images .* 2\.5")])
def test_bad_mnist_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.mnist(**options)


def test_whole_floats_are_integers():
    assert len(datasets.mnist(pixels=14.0, n_images=20.0)[0]) == 20        # integer() accepts them, so they must work


# --- full MNIST -----------------------------------------------------------------------------------------------------

def idx(array):
    """The IDX format: two zeros, 8 for bytes, the number of axes, the axes, the bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def content(monkeypatch):
    """Four small files, declared to be the real ones."""
    rng = np.random.default_rng(4)
    files = {}
    for prefix, n in (("train", 6), ("t10k", 3)):
        files[f"{prefix}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (n, 28, 28)))
        files[f"{prefix}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, n))
    assert set(files) == set(datasets.MNIST_FILES)
    monkeypatch.setattr(datasets, "MNIST_FILES", {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()})
    return files


def write(folder, content, spelling):
    """Put the files into a folder under names (and, for .gz, compressed) as ``spelling`` says."""
    for name, raw in content.items():
        path = folder / spelling(name)
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


SPELLINGS = {"plain": lambda name: name, "gz": lambda name: name + ".gz", "dot": lambda name: name.replace("-idx", ".idx"),
             "dot and gz": lambda name: name.replace("-idx", ".idx") + ".gz"}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_full_mnist_from_a_folder(tmp_path, content, monkeypatch, spelling):
    write(tmp_path, content, spelling)
    found = datasets.fetch_mnist(tmp_path, download=False)
    assert {name: path.name for name, path in found.items()} == {name: spelling(name) for name in content}
    monkeypatch.setenv("DLN_DATA_DIR", str(tmp_path))
    assert datasets.data_folder() == tmp_path
    for split, prefix, n in (("train", "train", 6), ("test", "t10k", 3)):
        images, labels = datasets.mnist("full", split=split)
        raw = np.frombuffer(content[f"{prefix}-images-idx3-ubyte"], np.uint8, offset=16)
        np.testing.assert_allclose(images, raw.reshape(n, 784) / 255, rtol=1e-14)
        assert labels.tolist() == list(content[f"{prefix}-labels-idx1-ubyte"][8:])
    assert datasets.mnist("full", pixels=7, n_images=2)[0].shape == (2, 49)


def damage(raw):
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize("name, file", [
    ("plain", damage), ("plain", lambda raw: raw[:100]), ("plain", lambda raw: b""),
    ("gz", lambda raw: gzip.compress(damage(raw))), ("gz", lambda raw: gzip.compress(raw)[:-50]),
    ("gz", lambda raw: b"<html>please log in</html>"), ("gz", lambda raw: b"")],
    ids=["plain one bit", "plain cut", "plain empty", "gz one bit", "gz cut", "gz is a web page", "gz empty"])
def test_damaged_file_is_named(tmp_path, content, name, file):
    write(tmp_path, content, SPELLINGS[name])
    path = tmp_path / SPELLINGS[name]("t10k-images-idx3-ubyte")
    path.write_bytes(file(content["t10k-images-idx3-ubyte"]))
    with pytest.raises(ValueError, match=path.name):
        datasets.fetch_mnist(tmp_path, download=False)


def test_missing_file_without_download_says_what_to_do(tmp_path, content, monkeypatch):
    write(tmp_path, content, SPELLINGS["gz"])
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="lacks train-labels-idx1-ubyte: .*'dln data'.*DLN_DATA_DIR"):
        datasets.fetch_mnist(tmp_path, download=False)
    monkeypatch.setenv("DLN_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="'dln data'"):
        datasets.mnist("full")


def test_only_missing_files_are_downloaded(tmp_path, content, monkeypatch):
    write(tmp_path, content, SPELLINGS["plain"])
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    asked = []

    def retrieve(url, known_hash, fname, path, **options):
        asked.append(url)
        (path / fname).write_bytes(gzip.compress(content[fname.removesuffix(".gz")]))
        return str(path / fname)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    found = datasets.fetch_mnist(tmp_path)
    assert asked == [datasets.MNIST_URL + "t10k-labels-idx1-ubyte.gz"]
    assert found["t10k-labels-idx1-ubyte"].name == "t10k-labels-idx1-ubyte.gz"
    datasets.fetch_mnist(tmp_path)
    assert len(asked) == 1


@pytest.mark.parametrize("error", [requests.exceptions.ConnectionError("no route"), requests.exceptions.HTTPError("404"),
                                   OSError("disk full")])
def test_no_network_says_what_to_do(tmp_path, content, monkeypatch, error):
    def retrieve(*args, **options):
        raise error
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched .*DLN_DATA_DIR.*'dln data --from FOLDER'") as raised:
        datasets.fetch_mnist(tmp_path)
    assert type(error).__name__ in str(raised.value) and all(name in str(raised.value) for name in content)


def test_digests_are_complete():
    assert len(datasets.MNIST_FILES) == 4 and all(len(digest) == 64 for digest in datasets.MNIST_FILES.values())


# --- photographs ----------------------------------------------------------------------------------------------------

def test_patches_are_cut_from_the_photographs():
    from dlnutils.datasets import GREY, _photographs
    colour, labels = datasets.natural_patches(grey=False)
    first = _photographs()[0][:32, :32].transpose(2, 0, 1) / 255
    np.testing.assert_array_equal(colour[0].reshape(3, 32, 32), first)
    grey, same = datasets.natural_patches()
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_allclose(grey[0], np.tensordot(GREY, first, axes=1).ravel(), rtol=1e-12)
    assert grey.shape == (len(labels), 1024) and 0 <= grey.min() and grey.max() <= 1
    assert set(labels) == set(range(len(datasets.PHOTOGRAPHS)))


def test_training_and_test_patches_share_no_pixel():
    from dlnutils.datasets import _photographs
    n_train, n_test = (len(datasets.natural_patches(split)[0]) for split in ("train", "test"))
    whole = sum((image.shape[0] // 32) * (image.shape[1] // 32) for image in _photographs())
    assert n_train + n_test <= whole and n_test > 0.15 * whole
    dense, _ = datasets.natural_patches(stride=16)
    assert len(dense) > 3 * n_train
    test = datasets.natural_patches("test")[0]
    textured = [patches[patches.std(1) > 0.01] for patches in (dense, test)]       # the sky behind the rocket is black twice
    assert not set(map(bytes, textured[0])) & set(map(bytes, textured[1]))


def test_photographs_have_the_spectrum_of_natural_images():
    """Variances along principal directions fall as a power of their number, near 1.3."""
    images, _ = datasets.natural_patches()
    eigenvalues = np.linalg.svd(images - images.mean(0), compute_uv=False)**2
    k = np.arange(10, 301)
    slope = np.polyfit(np.log(k), np.log(eigenvalues[k - 1]), 1)[0]
    assert -1.7 < slope < -1.0


@pytest.mark.parametrize("call, message", [
    (lambda: datasets.natural_patches("validation"), "split must be one of 'train', 'test', got 'validation'"),
    (lambda: datasets.natural_patches(pixels=4), "pixels must be an integer of at least 8, got 4"),
    (lambda: datasets.natural_patches(pixels=100), "pixels must be at most 64, got 100"),
    (lambda: datasets.natural_patches(stride=0), "stride must be an integer of at least 1, got 0"),
    (lambda: datasets.cifar10("validation"), "split must be one of"),
])
def test_bad_patches_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def write_cifar(folder, n=4):
    """A small file set in the format of the binary version; images and labels of all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, written = np.random.default_rng(0), []
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        records = rng.integers(256, size=(n, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())
        written.append(records)
    return np.concatenate(written)


def test_cifar_is_read_from_its_binary_version(tmp_path, monkeypatch):
    records = write_cifar(tmp_path / "cifar-10-batches-bin")
    images, labels = datasets.cifar10(folder=tmp_path, grey=False)
    np.testing.assert_array_equal(labels, records[:20, 0])
    np.testing.assert_allclose(images, records[:20, 1:] / 255)
    monkeypatch.setenv("DLN_DATA_DIR", str(tmp_path / "cifar-10-batches-bin"))
    images, labels = datasets.cifar10("test")
    assert images.shape == (4, 1024) and labels.dtype.kind == "i"
    red, green, blue = records[-1, 1:].reshape(3, 1024) / 255
    np.testing.assert_allclose(images[-1], 0.299 * red + 0.587 * green + 0.114 * blue)


@pytest.mark.parametrize("content", [b"", b"\x00" * 3072, b"\x0a" + b"\x00" * 3072, b"\x80\x04" + b"x" * 5000],
                         ids=["empty", "short", "label 10", "a pickle"])
def test_what_is_not_cifar_is_refused(tmp_path, content):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(ValueError, match="data_batch_2.bin is not a batch of the binary version"):
        datasets.cifar10(folder=tmp_path)


def test_missing_cifar_says_where_to_put_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks data_batch_1.bin: unpack the binary version of CIFAR-10 there"):
        datasets.cifar10(folder=tmp_path)
