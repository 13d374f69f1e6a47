"""The brainsets layout: which HDF5 groups and attributes `torch_brain.data` reads and writes."""

import mmap

import h5py
import numpy as np

from .intervals import intervals

LARGEST = 4 * 2**30  # bytes of an array that is read rather than mapped


def write_table(parent: h5py.Group, name: str, columns: dict, kind: str, **attrs) -> h5py.Group:
    group, columns = parent.create_group(name), {k: np.asarray(v) for k, v in columns.items()}
    text = [key for key, values in columns.items() if values.dtype.kind in "UO"]
    group.attrs.update(object=kind, _unicode_keys=np.array(text, dtype="S"), **attrs)
    for key, values in columns.items():
        data = np.char.encode(values.astype(str)) if key in text else values
        group.create_dataset(key, data=data)
    return group


def write_data(parent: h5py.Group, name: str, **attrs) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update(object="Data", absolute_start=0.0, **attrs)
    return group


def write_interval(parent: h5py.Group, name: str, pairs: np.ndarray) -> None:
    columns = {"start": pairs[:, 0], "end": pairs[:, 1]}
    write_table(parent, name, columns, "Interval", timekeys=np.array([*columns], dtype="S"))


def write_series(file: h5py.File, name: str, series: dict, domain: np.ndarray) -> None:
    keys = np.array(["timestamps"], dtype="S")
    group = write_table(file, name, series, "IrregularTimeSeries", timekeys=keys)
    write_interval(group, "domain", domain)
    # torch_brain slices lazily through the first row at or after each whole second of the domain
    seconds = np.arange(domain.min(), domain.max() + 1.0, 1.0)
    group["timestamp_indices_1s"] = np.searchsorted(series["timestamps"], seconds)


def check_inside(file: h5py.File) -> None:
    """Raise where anything lies in another file: it would be read at its offset in this one."""

    def outside(name: str, one: object) -> str | None:
        data = isinstance(one, h5py.Dataset) and (one.external or one.is_virtual)
        return name if data or isinstance(one, h5py.ExternalLink) else None

    if name := file.visititems_links(outside) or file.visititems(outside):
        raise ValueError(f"{name} lies in another file; copy what it stands for into this one")


def whole(data: h5py.Dataset) -> np.ndarray:
    """All of a dataset, unless it says that it is larger than it can be."""
    stored = data.id.get_storage_size()
    if data.nbytes > min(LARGEST, 1e6 + 1100 * stored):  # of deflate, the most is 1032 times
        what = f"{data.name} is to be {data.nbytes / 2**30:.3g} GiB, of {stored} bytes"
        raise ValueError(f"{what}; is it damaged? If not, save it without compression")
    return data[()]


def read_array(data: h5py.Dataset, pages: mmap.mmap) -> np.ndarray:
    """The dataset as an array: a view of the file's pages where it lies contiguous in them."""
    if data.dtype.kind in "SO":
        return np.array([v.decode() if isinstance(v, bytes) else v for v in whole(data)], str)
    offset = data.id.get_offset()
    if offset is None or data.size == 0:  # chunked, compressed or empty
        return whole(data)
    return np.frombuffer(pages, data.dtype, data.size, offset).reshape(data.shape)


def read_interval(group: h5py.Group) -> np.ndarray:
    return intervals(whole(group["start"]), whole(group["end"]))


def read_series(group: h5py.Group, pages: mmap.mmap) -> dict[str, np.ndarray]:
    arrays = {key: data for key, data in group.items() if isinstance(data, h5py.Dataset)}
    arrays.pop("timestamp_indices_1s", None)
    series = {key: read_array(data, pages) for key, data in arrays.items()}
    if "sampling_rate" in group.attrs and "timestamps" not in series:
        seconds = np.arange(len(next(iter(series.values())))) / group.attrs["sampling_rate"]
        series["timestamps"] = read_interval(group["domain"]).min() + seconds
    return series


def read_text(file: h5py.File, group: str, key: str, default: str = "") -> str:
    value = file[group].attrs.get(key, default) if group in file else default
    return value.decode() if isinstance(value, bytes) else str(value)
