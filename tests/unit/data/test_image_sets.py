"""Sets: flat folders, a folder per class, CSV files and names, each with the labels that it says and no others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data import fashion_mnist
from edgecnn.data.sets import FASHION_MNIST_TEST, ImageSet, load_set, shipped_sets
from edgecnn.data.split import KEPT_APART, hold_block, keep_apart, shares, spread
from edgecnn.errors import InputError, IntegrityError, UsageError
from edgecnn.models.registry import MODELS
from edgecnn.recipe import Preprocess, load_labels, load_recipe, shipped

ANIMALS = ["cat", "dog", "emu"]


def draw(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(path)


def labels(images: ImageSet) -> list[int | None]:
    return [sample.label for sample in images.samples]


# Folders


def test_a_flat_folder_has_pictures_in_order_and_no_labels(tmp_path: Path) -> None:
    for name, colour in (("b.png", 2), ("a.jpg", 1), ("c.JPEG", 3)):
        draw(tmp_path / name, colour)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    images = load_set(str(tmp_path), ANIMALS)
    assert [Path(sample.name).name for sample in images.samples] == ["a.jpg", "b.png", "c.JPEG"]
    assert not images.labelled
    assert images.samples[1].read()[0, 0].tolist() == [2, 0, 0]


def test_sub_folders_named_after_classes_are_labels(tmp_path: Path) -> None:
    for index, name in enumerate(("emu", "cat")):
        draw(tmp_path / name / "1.png", index)
    images = load_set(str(tmp_path), ANIMALS)
    assert labels(images) == [0, 2]
    assert images.labelled
    assert images.note == ""


def test_sub_folders_named_after_indices_are_labels(tmp_path: Path) -> None:
    for name in ("2", "0"):
        draw(tmp_path / name / "1.png", 0)
    assert labels(load_set(str(tmp_path), ANIMALS)) == [0, 2]


def test_as_many_strange_sub_folders_as_classes_count_in_sorted_order_and_say_so(tmp_path: Path) -> None:
    for name in ("n03", "n01", "n02"):
        draw(tmp_path / name / "1.png", 0)
    images = load_set(str(tmp_path), ANIMALS)
    assert labels(images) == [0, 1, 2]
    assert images.note == "classes are the sub-folders in sorted order"


def test_other_strange_sub_folders_give_no_labels_and_say_so(tmp_path: Path) -> None:
    for name in ("dragon", "unicorn"):
        draw(tmp_path / name / "1.png", 0)
    images = load_set(str(tmp_path), ANIMALS)
    assert labels(images) == [None, None]
    assert images.note == "no labels: sub-folder 'dragon' is none of the model's 3 classes"
    assert images.take(lambda i: i == 0).note == images.note


@pytest.mark.parametrize("others", [("cat",), ("cat", "dog")])
def test_a_strange_sub_folder_among_classes_is_refused(tmp_path: Path, others: tuple[str, ...]) -> None:
    """In sorted order all of them would have wrong labels, and without any the gate would be another."""
    for name in (*others, "unicorn"):
        draw(tmp_path / name / "1.png", 0)
    with pytest.raises(InputError, match="sub-folder 'unicorn' is none of the model's 3 classes, and others are"):
        load_set(str(tmp_path), ANIMALS)


def test_a_class_whose_name_no_folder_can_have(tmp_path: Path) -> None:
    for name in ("Coat", "T-shirt-top"):
        draw(tmp_path / name / "1.png", 0)
    assert labels(load_set(str(tmp_path), ["T-shirt/top", "Coat"])) == [1, 0]


@pytest.mark.parametrize(("one", "two", "label"), [("0", "T-shirt-top", 0), ("01", "1", 1), ("1", "Coat", 1)])
def test_two_sub_folders_of_one_class_are_refused(tmp_path: Path, one: str, two: str, label: int) -> None:
    for name in (one, two):
        draw(tmp_path / name / "1.png", 0)
    with pytest.raises(InputError, match=f"sub-folders '{one}' and '{two}' are both class {label}; put them into one"):
        load_set(str(tmp_path), ["T-shirt/top", "Coat"])


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "cat" / "1.png", 0)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"x")
    with pytest.raises(InputError, match="dog: holds no JPEG or PNG images; put images of its class there, or remove"):
        load_set(str(tmp_path), ANIMALS)


def test_a_folder_called_like_a_shipped_set_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "photographs" / "1.png", 0)
    with pytest.raises(UsageError, match=r"give \./photographs or rename it"):
        load_set("photographs", [])
    assert len(load_set("./photographs", [])) == 1


def test_pictures_beside_sub_folders_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "cat" / "1.png", 0)
    draw(tmp_path / "1.png", 0)
    with pytest.raises(InputError, match="holds both images and sub-folders"):
        load_set(str(tmp_path), ANIMALS)


def test_other_files_are_refused_not_skipped(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 0)
    (tmp_path / "2.gif").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"2\.gif: only \.jpg, \.jpeg, \.png files are read"):
        load_set(str(tmp_path), ANIMALS)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no JPEG or PNG images"):
        load_set(str(tmp_path), ANIMALS)


# CSV files


def listed(folder: Path, text: str) -> ImageSet:
    for index in range(3):
        draw(folder / "pictures" / f"{index}.png", index)
    (folder / "set.csv").write_text(text, encoding="utf-8")
    return load_set(str(folder / "set.csv"), ANIMALS)


def test_a_csv_files_labels_are_names_or_indices_and_paths_are_beside_it(tmp_path: Path) -> None:
    images = listed(tmp_path, "path,label\npictures/2.png,dog\npictures/0.png, 2 \n")
    assert labels(images) == [1, 2]
    assert images.samples[0].read()[0, 0, 0] == 2


@pytest.mark.parametrize(
    "text", ["path\npictures/0.png\n", "path,label\npictures/0.png,\n", "\ufeffpath\npictures/0.png\n"]
)
def test_a_csv_file_may_have_no_labels(tmp_path: Path, text: str) -> None:
    assert labels(listed(tmp_path, text)) == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\npictures/0.png,3\n", "label '3' of pictures/0.png is neither a class name nor an index below 3"),
        ("path,label\npictures/0.png,-1\n", "label '-1' .* is neither"),
        ("path,label\npictures/0.png,Cat\n", "label 'Cat' .* is neither"),
        ("path,label\npictures/0.png,1\npictures/1.png,\n", "1 of 2 images have no label, first .*1.png"),
        ("path,label\npictures/9.png,1\n", "9.png"),
        ("file,label\npictures/0.png,1\n", "expected a CSV file with the header path,label"),
        ("path,Label\npictures/0.png,1\n", r"header path,label, or path alone; got \['path', 'Label'\]"),
        ("path, label\npictures/0.png,1\n", r"got \['path', ' label'\]"),
        ("path,label,label\npictures/0.png,1,2\n", "expected a CSV file with the header path,label"),
        ("path,label\npictures/0.png\n", "line 2 has fewer values than its header"),
        ("path,label\n\n\npictures/0.png\n", "line 4 has fewer values than its header"),
        ("path,label\n", "lists no images"),
        ("", "expected a CSV file with the header path,label"),
    ],
)
def test_what_a_csv_file_may_not_say(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        listed(tmp_path, text)


# Names


def test_shipped_sets_are_what_their_manifests_say() -> None:
    assert shipped_sets() == ["fashion-mnist-1000", "fashion-mnist-512", "photographs", FASHION_MNIST_TEST]
    names = load_labels("fashion-mnist")
    assert tuple(names) == fashion_mnist.CLASSES
    for name, count in (("fashion-mnist-1000", 1000), ("fashion-mnist-512", 512)):
        images = load_set(name, names)
        assert len(images) == count
        assert images.labelled
        assert set(images.labels.tolist()) == set(range(10))
    assert not load_set("photographs", []).labelled


def test_a_picture_that_differs_from_its_manifest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "_shipped" / "calibration" / "mine"
    draw(folder / "a.png", 1)
    (folder / "manifest.csv").write_text(f"path,label,sha256\na.png,,{'0' * 64}\n")
    monkeypatch.setattr("edgecnn.recipe.PACKAGE", tmp_path)
    with pytest.raises(IntegrityError, match=r"a\.png: sha256 is .* manifest has 0000"):
        load_set("mine", [])


@pytest.mark.parametrize("name", ["fashion-mnist-512", "fashion-mnist-1000", FASHION_MNIST_TEST])
def test_a_shipped_set_of_classes_that_a_network_lacks_is_refused(name: str) -> None:
    message = f"{name}: label '[2-9]' of .* is neither a class name nor an index below 2"
    with pytest.raises(InputError, match=message):
        load_set(name, ["no", "yes"])
    assert max(load_set(name, [str(index) for index in range(1000)]).labels) == 9


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean photographs"):
        load_set("photograph", [])
    with pytest.raises(InputError, match="no such folder or CSV file"):
        load_set("some/folder", [])
    with pytest.raises(InputError, match="no such folder or CSV file"):
        load_set("list.csv", [])


def test_the_hash_is_over_the_pictures_in_order(tmp_path: Path) -> None:
    for folder, colours in (("one", (1, 2)), ("two", (1, 2)), ("three", (2, 1))):
        for index, colour in enumerate(colours):
            draw(tmp_path / folder / f"{index}.png", colour)
    one, two, three = (load_set(str(tmp_path / name), []).sha256 for name in ("one", "two", "three"))
    assert one == two != three


def test_batches_are_preprocessed_counted_and_complete(tmp_path: Path) -> None:
    for index in range(5):
        draw(tmp_path / f"{index}.png", 51 * index)
    how = Preprocess(4, 6, 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
    counts: list[int] = []
    batches = list(load_set(str(tmp_path), []).batches(how, 2, counts.append))
    assert [batch.shape for batch in batches] == [(2, 3, 4, 6), (2, 3, 4, 6), (1, 3, 4, 6)]
    assert counts == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate(batches)[:, 0, 0, 0], np.arange(5) / 5, atol=1e-6)


# Fashion-MNIST


def test_fashion_mnist_is_whole() -> None:
    test = fashion_mnist.load("test")
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    images = load_set(FASHION_MNIST_TEST, fashion_mnist.CLASSES)
    assert len(images) == 10_000
    np.testing.assert_array_equal(images.labels, test.labels)
    pixels = images.samples[7].read()
    assert pixels.shape == (28, 28, 3)
    np.testing.assert_array_equal(pixels, np.repeat(test.images[7][..., None], 3, axis=2))


def test_a_damaged_fashion_mnist_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b\x08no")
    with pytest.raises(IntegrityError, match="not a complete gzip file"):
        fashion_mnist.load("test")


def test_the_shipped_evaluation_images_are_the_test_splits_own() -> None:
    """A test image among the calibration images would be judged by what it was fitted to."""
    test = fashion_mnist.load("test")
    rows = {image.tobytes(): int(label) for image, label in zip(test.images, test.labels, strict=True)}
    names = load_labels("fashion-mnist")
    for sample in load_set("fashion-mnist-1000", names).samples:
        assert rows[sample.read()[..., 0].tobytes()] == sample.label
    assert not any(sample.read()[..., 0].tobytes() in rows for sample in load_set("fashion-mnist-512", names).samples)


# Which images calibrate, and which judge


@pytest.mark.parametrize("count", [8, 9, 10, 64, 65, 512])
def test_calibration_and_judging_never_overlap(count: int) -> None:
    images = load_set("fashion-mnist-1000", load_labels("fashion-mnist")).take(lambda i: i < count)
    calibration, judging = keep_apart(images)
    assert set(calibration.samples) | set(judging.samples) == set(images.samples)
    assert len(calibration) + len(judging) == count
    assert not {s.name for s in calibration.samples} & {s.name for s in judging.samples}
    assert len(judging) == count // KEPT_APART


def test_a_judging_set_that_calibrates_is_noticed() -> None:
    """Whether by its files, or as the split that they were taken from."""
    names = load_labels("fashion-mnist")
    judging, whole = load_set("fashion-mnist-1000", names), load_set(FASHION_MNIST_TEST, names)
    half, other = judging.take(lambda i: i < 500), judging.take(lambda i: i >= 500)
    assert shares(half, judging) == "500 of fashion-mnist-1000 calibrate"
    assert shares(half, other) == ""
    assert shares(whole, judging) == "fashion-mnist-test holds all of fashion-mnist-1000"
    assert shares(load_set("fashion-mnist-512", names), judging) == ""


def test_too_few_images_to_calibrate_are_refused() -> None:
    images = load_set("photographs", []).take(lambda i: i < 7)
    with pytest.raises(InputError, match="photographs: 7 images, at least 8 are needed"):
        keep_apart(images)


@pytest.mark.parametrize("name", MODELS)
def test_no_recipe_judges_on_what_it_calibrates_on(name: str) -> None:
    recipe = load_recipe(name)
    for data in filter(None, (recipe.imagenet, recipe.builtin)):
        if data.evaluation is None:
            continue
        folders = shipped("calibration") / data.calibration, shipped("calibration") / data.evaluation
        digests = [{line.split(",")[-1] for line in (f / "manifest.csv").read_text().splitlines()[1:]} for f in folders]
        assert digests[0]
        assert not digests[0] & digests[1]


@pytest.mark.parametrize(
    ("size", "count", "got"), [(64, 16, 16), (10, 16, 10), (17, 16, 16), (31, 16, 16), (1000, 16, 16), (5, 1, 1)]
)
def test_a_sample_is_spread_evenly_over_the_whole_set(size: int, count: int, got: int) -> None:
    images = load_set("fashion-mnist-1000", load_labels("fashion-mnist")).take(lambda i: i < size)
    sample = spread(images, count)
    assert len(sample) == got
    positions = [images.samples.index(chosen) for chosen in sample.samples]
    gaps = np.diff([*positions, size])
    assert positions[0] == 0
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("count", "held"), [(8, 1), (10, 2), (52, 10), (410, 82)])
def test_a_block_of_neighbours_is_held_out_whole(tmp_path: Path, count: int, held: int) -> None:
    for index in range(count):
        Image.new("RGB", (4, 4), (index % 256, 0, 0)).save(tmp_path / f"{index:03d}.png")
    rest, block = hold_block(load_set(str(tmp_path), []))
    positions = [int(Path(sample.name).stem) for sample in block.samples]
    assert len(positions) == held
    assert positions == list(range(positions[0], positions[0] + held))
    assert positions[0] > 0
    assert positions[-1] < count - 1
    assert sorted(positions + [int(Path(sample.name).stem) for sample in rest.samples]) == list(range(count))
