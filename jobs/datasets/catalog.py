"""The files of each data set: their names, sizes and sha256; imports neither numpy nor torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a data set, after decompression (the headers of compressed files differ)."""

    name: str  # without .gz or .xz
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set of the catalog: its files, where they may lie, and how a person gets them."""

    name: str
    title: str
    files: tuple[DataFile, ...]
    suffixes: tuple[str, ...]  # how a file may be compressed; "" is plain
    layouts: tuple[str, ...]  # where its files may lie below a folder of data sets
    well_known: tuple[str, ...]  # folders in which systems put its files
    source: str  # how a person gets the files
    package: tuple[str, str] | None = None  # a Python package that ships the files, and its folder

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each file, by name, as in a record's provenance."""
        return {file.name: file.sha256 for file in self.files}


def _idx(
    train_images: str, train_labels: str, test_images: str, test_labels: str
) -> tuple[DataFile, ...]:
    return (
        DataFile(name="train-images-idx3-ubyte", size=47_040_016, sha256=train_images),
        DataFile(name="train-labels-idx1-ubyte", size=60_008, sha256=train_labels),
        DataFile(name="t10k-images-idx3-ubyte", size=7_840_016, sha256=test_images),
        DataFile(name="t10k-labels-idx1-ubyte", size=10_008, sha256=test_labels),
    )


_ALL = (
    Dataset(
        name="digits",
        title="Optical recognition of handwritten digits",
        files=(
            DataFile(
                name="digits.csv",
                size=264_712,
                sha256="6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
            ),
        ),
        suffixes=(".gz", ""),
        layouts=("", "digits"),
        well_known=(),
        source="it comes with scikit-learn, which the extra `train` installs",
        package=("sklearn", "datasets/data"),
    ),
    Dataset(
        name="mnist",
        title="MNIST",
        files=_idx(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        suffixes=(".gz", "", ".xz"),
        layouts=("mnist", "MNIST/raw", "MNIST", ""),
        well_known=(
            "/usr/share/datasets/mnist",
            "/common/datasets/mnist",
            "/common/datasets/MNIST/raw",
        ),
        source="the four original files of the MNIST database by LeCun, Cortes and Burges",
    ),
    Dataset(
        name="fmnist",
        title="Fashion-MNIST",
        files=_idx(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        suffixes=(".gz", "", ".xz"),
        layouts=(
            "fmnist",
            "fashion-mnist",
            "fashion_mnist",
            "FashionMNIST/raw",
            "FashionMNIST",
            "",
        ),
        well_known=(
            "/usr/share/datasets/fashion-mnist",
            "/common/datasets/fashion-mnist",
            "/common/datasets/fmnist",
            "/common/datasets/FashionMNIST/raw",
        ),
        source="Debian's package dataset-fashion-mnist, or the four original files of zalandoresearch/fashion-mnist",
    ),
    Dataset(
        name="cifar10",
        title="CIFAR-10",
        files=(
            DataFile(
                name="data_batch_1",
                size=31_035_704,
                sha256="54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
            ),
            DataFile(
                name="data_batch_2",
                size=31_035_320,
                sha256="766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
            ),
            DataFile(
                name="data_batch_3",
                size=31_035_999,
                sha256="0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
            ),
            DataFile(
                name="data_batch_4",
                size=31_035_696,
                sha256="3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
            ),
            DataFile(
                name="data_batch_5",
                size=31_035_623,
                sha256="d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
            ),
            DataFile(
                name="test_batch",
                size=31_035_526,
                sha256="f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
            ),
        ),
        suffixes=("", ".xz", ".gz"),
        layouts=(
            "cifar10",
            "cifar-10-batches-py",
            "cifar10/cifar-10-batches-py",
            "CIFAR10/cifar-10-batches-py",
            "",
        ),
        well_known=(
            "/usr/share/datasets/cifar10",
            "/common/datasets/cifar10",
            "/common/datasets/cifar10/cifar-10-batches-py",
            "/common/datasets/cifar-10-batches-py",
        ),
        source="the folder cifar-10-batches-py of the archive cifar-10-python.tar.gz by Krizhevsky",
    ),
    Dataset(
        name="jargon",
        title="The Jargon File 4.4.7",
        files=(
            DataFile(
                name="jargon.txt",
                size=1_681_817,
                sha256="40dfb4b98191a670a09a183d5798d50f243d23fdbd1495dcc0aca2ce5895ba97",
            ),
        ),
        suffixes=(".gz", "", ".xz"),
        layouts=("jargon", "jargon-text", ""),
        well_known=(
            "/usr/share/doc/jargon-text",
            "/common/datasets/jargon",
            "/common/datasets/jargon-text",
        ),
        source="Debian's package jargon-text, whose jargon.txt.gz it is (in the public domain)",
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}
