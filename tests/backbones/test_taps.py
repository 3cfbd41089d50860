"""Names of taps and sizes: what is read back, and what each refusal says."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedep_jax.backbones.taps import (
    BACKBONES,
    CHANNELS,
    DEFAULT_SIZE,
    DEFAULT_TAPS,
    LAYERS,
    Tap,
    backbones_of,
    check_cells,
    parse_sizes,
    parse_taps,
)
from facedep_jax.errors import SettingsError

a_tap = st.builds(Tap, st.sampled_from(BACKBONES), st.sampled_from(sorted(LAYERS)), st.integers(1, 7))


@given(st.lists(a_tap, min_size=1, unique=True))
def test_what_is_written_is_what_is_read(taps):
    assert parse_taps(",".join(map(str, taps))) == tuple(taps)


def test_defaults_by_hand():
    taps = parse_taps(DEFAULT_TAPS)
    assert [(t.backbone, t.layer, t.cells, t.channels) for t in taps] == [
        ("mobilenet_v2", "neck", 7, 96),
        ("resnet50", "neck", 4, 256),
    ]
    assert parse_sizes(DEFAULT_SIZE, backbones_of(taps)) == {"mobilenet_v2": 224, "resnet50": 224}
    assert [Tap("resnet50", layer, 1).pixels(size) for size in (224, 96) for layer in LAYERS] == [14, 14, 7, 6, 6, 3]
    assert set(CHANNELS) == {(b, layer) for b in BACKBONES for layer in LAYERS}


def test_backbones_in_their_own_order():
    assert backbones_of(parse_taps("resnet50:mid@1,mobilenet_v2:top@1")) == BACKBONES
    assert backbones_of(parse_taps("resnet50:mid@1,resnet50:top@1")) == ("resnet50",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no taps given"),
        (" , ", "no taps given"),
        (
            "mobilenet_v2:mdi@3",
            "did you mean mobilenet_v2:mid@3? known: mobilenet_v2:neck, mobilenet_v2:mid, mobilenet_v2:top",
        ),
        ("vgg16:mid@3", "unknown tap 'vgg16:mid@3'"),
        ("resnet50:mid", "each with @1 to @7"),
        ("resnet50:mid@9", "asks for 9 cells along a side; 1 to 7"),
        ("resnet50:mid@0", "asks for 0 cells"),
        ("resnet50:mid@3,mobilenet_v2:top@1,resnet50:mid@3", "given twice: resnet50:mid@3"),
    ],
)
def test_refused_taps(text, said):
    with pytest.raises(SettingsError) as refusal:
        parse_taps(text)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("96", {"mobilenet_v2": 96, "resnet50": 96}),
        ("resnet50=96, mobilenet_v2=224", {"mobilenet_v2": 224, "resnet50": 96}),
        ("32", {"mobilenet_v2": 32, "resnet50": 32}),
        ("1024", {"mobilenet_v2": 1024, "resnet50": 1024}),
    ],
)
def test_sizes(text, sizes):
    assert parse_sizes(text, BACKBONES) == sizes


def test_a_size_for_a_backbone_without_taps_is_allowed():
    assert parse_sizes("mobilenet_v2=224,resnet50=96", ("resnet50",)) == {"resnet50": 96}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("100", "multiple of 32"),
        ("0", "multiple of 32"),
        ("1056", "up to 1024"),
        ("-32", "multiple of 32"),
        ("big", "'big'"),
        ("vgg16=224", "unknown backbone 'vgg16'"),
        ("mobilenet_v2=224", "no size for resnet50"),
        ("mobilenet_v2=224,mobilenet_v2=96,resnet50=96", "given twice"),
        ("mobilenet_v2=224,resnet50=", "multiple of 32"),
    ],
)
def test_refused_sizes(text, said):
    with pytest.raises(SettingsError) as refusal:
        parse_sizes(text, BACKBONES)
    assert said in str(refusal.value)


def test_a_grid_may_be_as_fine_as_its_layer_and_no_finer():
    taps = parse_taps("mobilenet_v2:mid@6,resnet50:top@3")
    check_cells(taps, {"mobilenet_v2": 96, "resnet50": 96})
    with pytest.raises(SettingsError) as refusal:
        check_cells(taps, {"mobilenet_v2": 64, "resnet50": 64})
    assert "mobilenet_v2:mid@6 (4×4 pixels at 64)" in str(refusal.value)
    assert "resnet50:top@3 (2×2 pixels at 64)" in str(refusal.value)


def test_reading_taps_loads_no_jax():
    code = "import sys, facedep_jax.backbones.taps; print(*{'jax', 'flax', 'h5py', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
