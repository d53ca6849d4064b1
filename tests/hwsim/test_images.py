"""What is taken as an image, and what a wrong file is told."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.io import IMAGES, LABELS, LoadedSchedule
from dtss.hwsim.images import Samples, load_samples


def from_file(small: LoadedSchedule, path: Path, limit: int | None = None) -> Samples:
    return load_samples(small, "small.json", path, limit)


def saved(folder: Path, array: np.ndarray) -> Path:
    path = folder / "images.npy"
    np.save(path, array)
    return path


def test_stored_images(small: LoadedSchedule) -> None:
    samples = load_samples(small, "small.json", None, None)
    np.testing.assert_array_equal(samples.pixels, small.tensors[IMAGES])
    assert samples.labels is not None
    assert samples.float_logits is not None
    assert (samples.labels.tolist(), samples.float_logits.shape) == ([0, 1], (2, 2))
    assert samples.source == "stored"


def test_limit(small: LoadedSchedule) -> None:
    samples = load_samples(small, "small.json", None, 1)
    assert samples.labels is not None
    assert (len(samples.pixels), samples.labels.tolist()) == (1, [0])


def test_no_stored_images(small: LoadedSchedule) -> None:
    tensors = {name: tensor for name, tensor in small.tensors.items() if name != IMAGES}
    with pytest.raises(BadInputError) as error:
        load_samples(LoadedSchedule(small.schedule, tensors), "small.json", None, None)
    assert str(error.value) == "small.json: no images are stored with this schedule; give some with --images FILE"


def test_pixels_are_taken_as_they_are(small: LoadedSchedule, tmp_path: Path) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    samples = from_file(small, saved(tmp_path, pixels))
    np.testing.assert_array_equal(samples.pixels, pixels)
    assert (samples.labels, samples.float_logits, samples.source) == (None, None, "images.npy")


def test_network_inputs_become_pixels(small: LoadedSchedule, tmp_path: Path) -> None:
    """x = (p/16 − 0.5) / 0.25, back to p exactly."""
    pixels = small.tensors[IMAGES]
    inputs = ((pixels / 16 - 0.5) / 0.25).transpose(0, 3, 1, 2).astype(np.float32)
    samples = from_file(small, saved(tmp_path, inputs))
    np.testing.assert_array_equal(samples.pixels, pixels)
    assert samples.clipped_values == 0


def test_inputs_beyond_the_pixels_are_clipped_and_counted(small: LoadedSchedule, tmp_path: Path) -> None:
    inputs = np.zeros((1, 3, 1, 2))
    inputs[0, 0] = [[-9.0, 9.0]]
    samples = from_file(small, saved(tmp_path, inputs))
    assert samples.clipped_values == 2
    np.testing.assert_array_equal(samples.pixels[0, 0], [[0, 8, 8], [15, 8, 8]])


def test_labels_beside_the_images(small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((2, 1, 2, 3), np.uint8), labels=np.array([1, 0]))
    samples = from_file(small, path)
    assert samples.labels is not None
    assert samples.labels.tolist() == [1, 0]


def test_the_only_array_of_an_npz(small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, anything=np.zeros((2, 1, 2, 3), np.uint8))
    assert len(from_file(small, path).pixels) == 2


CHOICES = "give uint8 [B, 1, 2, 3] pixels or float [B, 3, 1, 2] inputs"

WRONG_ARRAYS: dict[str, tuple[np.ndarray, str]] = {
    "too bright": (
        np.full((1, 1, 2, 3), 255, np.uint8),
        (
            "the largest pixel is 255, this network's pixels are at most 15; "
            "give images in the range the network was trained on"
        ),
    ),
    "pixel shape": (np.zeros((1, 3, 1, 2), np.uint8), "uint8 array of shape (1, 3, 1, 2); give uint8 [B, 1, 2, 3]"),
    "one image": (np.zeros((1, 2, 3), np.uint8), "uint8 array of shape (1, 2, 3); give uint8 [B, 1, 2, 3]"),
    "no image": (np.zeros((0, 1, 2, 3), np.uint8), "is empty, shape (0, 1, 2, 3); give at least one image"),
    "no input": (np.zeros((0, 3, 1, 2)), "is empty, shape (0, 3, 1, 2); give at least one image"),
    "integers": (np.zeros((1, 1, 2, 3), np.int64), f"holds int64 values; {CHOICES}"),
    "complex": (np.zeros((1, 1, 2, 3), complex), f"holds complex128 values; {CHOICES}"),
    "input shape": (np.zeros((1, 1, 2, 3)), f"float array of shape (1, 1, 2, 3); {CHOICES}"),
    "nan": (
        np.full((1, 3, 1, 2), np.nan, np.float32),
        "6 values are NaN or infinite; remove them; inputs are finite numbers",
    ),
    "infinite": (np.full((1, 3, 1, 2), np.inf), "6 values are NaN or infinite; remove them; inputs are finite numbers"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_a_wrong_array_is_told_what_is_expected(case: str, small: LoadedSchedule, tmp_path: Path) -> None:
    array, message = WRONG_ARRAYS[case]
    path = saved(tmp_path, array)
    with pytest.raises(BadInputError) as error:
        from_file(small, path)
    assert str(error.value) == f"{path}: {message}"


def test_several_arrays_without_the_name(small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, b=np.zeros(1), a=np.zeros(1))
    with pytest.raises(BadInputError) as error:
        from_file(small, path)
    assert str(error.value) == f"{path}: holds ['a', 'b']; name the array of images `images`"


@pytest.mark.parametrize("labels", [np.array([0, 2]), np.array([-1, 0])])
def test_labels_of_other_classes(labels: np.ndarray, small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((2, 1, 2, 3), np.uint8), labels=labels)
    with pytest.raises(BadInputError) as error:
        from_file(small, path)
    found = f"found {labels.min()} … {labels.max()}"
    assert str(error.value) == f"{path}: labels: {found}; labels of 2 classes are 0 … 1"


def test_labels_of_another_number(small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((2, 1, 2, 3), np.uint8), labels=np.array([0.0]))
    with pytest.raises(BadInputError) as error:
        from_file(small, path)
    assert str(error.value) == f"{path}: labels: found float64 (1,); give 2 whole numbers, one an image"


def test_stored_labels_are_checked(small: LoadedSchedule) -> None:
    tensors = dict(small.tensors) | {LABELS: np.array([0, 7])}
    with pytest.raises(BadInputError) as error:
        load_samples(LoadedSchedule(small.schedule, tensors), "s.json", None, None)
    assert str(error.value) == f"s.json: {LABELS}: found 0 … 7; labels of 2 classes are 0 … 1"


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00", b"PK\x03\x04 broken"])
def test_a_file_without_an_array(content: bytes, small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r": is no array file \(.*\); give a \.npy or \.npz file that numpy\.save"):
        from_file(small, path)


def test_objects_are_not_unpickled(small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(BadInputError, match="is no array file"):
        from_file(small, path)


def test_a_file_that_is_not_there(small: LoadedSchedule, tmp_path: Path) -> None:
    path = tmp_path / "missing.npy"
    with pytest.raises(BadInputError) as error:
        from_file(small, path)
    assert str(error.value) == f"{path}: cannot be read (No such file or directory); check the path"


def test_pixels_of_more_than_eight_bits(small: LoadedSchedule, tmp_path: Path) -> None:
    deep = msgspec.structs.replace(small.schedule.preprocess, pixel_max=1023, pixel_scale=1 / 1024)
    schedule = msgspec.structs.replace(small.schedule, preprocess=deep)
    samples = from_file(LoadedSchedule(schedule, small.tensors), saved(tmp_path, np.ones((1, 3, 1, 2))))
    assert samples.pixels.max() == 768
