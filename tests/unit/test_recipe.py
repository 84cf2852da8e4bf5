"""Recipes are data: every shipped one is complete, and a mistake in one is refused by name."""

from pathlib import Path

import pytest

from edgecnn.data.sets import shipped_sets
from edgecnn.errors import InputError
from edgecnn.models.registry import MODELS
from edgecnn.models.sources import sources
from edgecnn.recipe import INTERPOLATIONS, Gate, Preprocess, class_names, load_labels, load_recipe, shipped

GOOD = """
model = "tiny"
[imagenet]
labels = "imagenet"
calibration = "photographs"
[imagenet.preprocess]
height = 224
width = 192
crop = 0.875
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
"""


def test_there_is_one_recipe_per_model() -> None:
    assert {path.stem for path in shipped("export").glob("*.toml")} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_recipe_names_things_that_exist(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model == name
    assert recipe.weights is None or recipe.weights in ("builtin", *sources(name))
    assert 0 < recipe.gate.max_drop_pp <= 5
    assert 0.5 < recipe.gate.min_agreement <= 1
    assert 0 < recipe.gate.max_kl <= 1
    for data in filter(None, (recipe.imagenet, recipe.builtin)):
        how = data.preprocess
        assert load_labels(data.labels)
        assert data.calibration in shipped_sets()
        assert data.evaluation is None or data.evaluation in shipped_sets()
        assert data.evaluation != data.calibration
        assert how.interpolation in INTERPOLATIONS
        assert 0 < how.crop <= 1
        assert len(how.mean) == len(how.std) == 3
        assert min(how.std) > 0
        assert min(how.height, how.width) >= 32
    how = recipe.data("imagenet").preprocess
    assert how.height == how.width == MODELS[name].size


@pytest.mark.parametrize("name", MODELS)
def test_builtin_weights_have_their_own_contract(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.data("imagenet") is recipe.data("weights.pth") is recipe.imagenet
    assert recipe.data("builtin") is (recipe.builtin or recipe.imagenet)
    assert (recipe.train is None) == (recipe.builtin is None)
    assert recipe.weights != "builtin" or recipe.builtin is not None


def test_a_recipe_has_defaults(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(GOOD)
    recipe = load_recipe("tiny", tmp_path / "tiny.toml")
    assert recipe.gate == Gate()
    assert recipe.data("imagenet").preprocess.width == 192
    assert (recipe.weights, recipe.builtin, recipe.train, recipe.data("random").evaluation) == (None, None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('model = "tiny"', 'model = "tiny"\ncolour = 1', "unknown field `colour`"),
        ("crop = 0.875", "crop = 0.875\nzoom = 2", r"unknown field `zoom` - at `\$\.imagenet\.preprocess`"),
        ("height = 224", 'height = "224"', r"Expected `int`, got `str` - at `\$\.imagenet\.preprocess\.height`"),
        ("mean = [0.5, 0.5, 0.5]", "mean = 0.5", "Expected `array`, got `float`"),
        ("crop = 0.875", "", "missing required field `crop`"),
        ('labels = "imagenet"', "", "missing required field `labels`"),
        ('model = "tiny"', "", "missing required field `model`"),
        ('model = "tiny"', 'model = "other"', "model is 'other', expected 'tiny'"),
        ('model = "tiny"', "model =", "Invalid value"),
        ('model = "tiny"', 'model = "tiny"\nmodel = "tiny"', "Cannot overwrite a value"),
        # Images that would reach the network as 0..255, as one grey, or as NaN.
        (
            "std = [0.25, 0.25, 0.25]",
            "std = [0.00392157, 0.00392157, 0.00392157]",
            r"std is 0\.00392157, expected 0\.01",
        ),
        ("std = [0.25, 0.25, 0.25]", "std = [58.4, 57.1, 57.4]", r"std is 58\.4, .* 0\.\.255\? divide by 255"),
        (
            "mean = [0.5, 0.5, 0.5]",
            "mean = [123.7, 116.3, 103.5]",
            r"mean is 123\.7, .* divide by 255",
        ),
        ("std = [0.25, 0.25, 0.25]", "std = [0.25, 0.0, 0.25]", r"std is 0, expected 0\.01 to 1"),
        ("std = [0.25, 0.25, 0.25]", "std = [nan, 0.25, 0.25]", r"std is nan, expected 0\.01 to 1"),
        ("std = [0.25, 0.25, 0.25]", "std = [inf, 0.25, 0.25]", r"std is inf, expected 0\.01 to 1"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [nan, 0.5, 0.5]", "mean is nan, expected 0 to 1"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [-0.5, 0.5, 0.5]", r"mean is -0\.5, expected 0 to 1"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5]", "mean has 1 values, expected one for each of 3 channels"),
        ("crop = 0.875", "crop = 0.0", "crop is 0, expected a share"),
        ("crop = 0.875", "crop = 87.5", r"crop is 87\.5, expected a share"),
        ('interpolation = "bilinear"', 'interpolation = "nearest"', "'nearest', expected bilinear or bicubic"),
        ("height = 224", "height = 0", "height and width are 0 and 192, expected pixels"),
        ("[imagenet]", "[gate]\nmax_kl = nan\n[imagenet]", r"gate\.max_kl is nan, expected 0 or more"),
        ("[imagenet]", "[gate]\nmin_agreement = 95.0\n[imagenet]", r"gate\.min_agreement is 95, expected 0 to 1"),
        ("[imagenet]", "[gate]\nmax_drop_pp = -1.0\n[imagenet]", r"gate\.max_drop_pp is -1, expected 0 to 100"),
    ],
)
def test_a_mistake_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    (tmp_path / "tiny.toml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=rf"recipe tiny\.toml: .*{message}"):
        load_recipe("tiny", tmp_path / "tiny.toml")


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipe tiny\.toml: "):
        load_recipe("tiny", tmp_path / "tiny.toml")
    (tmp_path / "tiny.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"recipe tiny\.toml: "):
        load_recipe("tiny", tmp_path / "tiny.toml")
    with pytest.raises(InputError, match=r"labels 'nothing': nothing\.txt cannot be read"):
        load_labels("nothing")


def test_a_preprocessing_made_in_python_is_held_to_the_same() -> None:
    good = (32, 32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert Preprocess(*good).height == 32
    with pytest.raises(InputError, match=r"std is 0\.00392157, expected 0\.01 to 1"):
        Preprocess(*good[:5], (1 / 255, 1 / 255, 1 / 255))


OWN = GOOD.replace("imagenet]", "own]").replace("imagenet.", "own.").replace('"imagenet"', '"classes.txt"')


def test_a_recipe_of_ones_own_finds_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "net"
    (folder / "photographs").mkdir(parents=True)  # comes before the set of that name, which is elsewhere
    (folder / "classes.txt").write_text("cat\ndog\n")
    (folder / "mine.toml").write_text(OWN.replace('"tiny"', '"tiny"\nweights = "mine.pth"'))
    (folder / "mine.pth").touch()
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("tiny", Path("net/mine.toml"))
    data = recipe.data(str(recipe.weights))
    assert recipe.weights == str(folder / "mine.pth")
    assert data.calibration == str(folder / "photographs")
    assert class_names(data, 2) == ["cat", "dog"]
    with pytest.raises(InputError, match=r"classes\.txt': 2 names, and the weights have 3 classes"):
        class_names(data, 3)


@pytest.mark.parametrize("source", ["builtin", "imagenet"])
def test_a_recipe_of_ones_own_need_not_know_other_weights(tmp_path: Path, source: str) -> None:
    (tmp_path / "mine.toml").write_text(OWN)
    recipe = load_recipe("tiny", tmp_path / "mine.toml")
    assert recipe.data("weights.pth") is recipe.data("random") is recipe.own
    with pytest.raises(InputError, match=rf"has no \[{source}\] table"):
        recipe.data(source)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "line 1 is empty"), (b"cat\n\ndog\n", "line 2 is empty"), (b"\xff\n", "it is no UTF-8 text")],
)
def test_a_list_of_classes_has_a_name_in_each_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_labels(str(tmp_path / "classes.txt"))
