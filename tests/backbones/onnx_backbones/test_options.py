"""What `--backbone` and `--backbone-input` may say, and one sentence for what they may not."""

from pathlib import Path

import pytest

from facedep_jax.backbones.onnx_backbones.onnx_backbone import input_of_entry
from facedep_jax.backbones.onnx_backbones.options import IMAGENET_MEAN, IMAGENET_STD, BackboneInput, parse_backbones
from facedep_jax.errors import SettingsError


def test_names_files_and_outputs():
    texts = ["dino_v2-s=dir/m.onnx", "b=/x/y.ONNX:/last/Relu_output_0", "c=a b=c.onnx:Identity:0", "d=x.onnx.onnx:o"]
    found = [(one.name, one.file, one.output) for one in parse_backbones(texts, [])]
    assert found == [
        ("dino_v2-s", Path("dir/m.onnx"), None),
        ("b", Path("/x/y.ONNX"), "/last/Relu_output_0"),
        ("c", Path("a b=c.onnx"), "Identity:0"),
        ("d", Path("x.onnx.onnx"), "o"),
    ]
    assert found and parse_backbones((), ()) == ()


def test_what_is_not_stated_is_the_default_and_known_to_be():
    plain, stated = (
        one.input for one in parse_backbones(["a=a.onnx", "b=b.onnx"], ["b=size:96, mean:0.5,std:1/2/4,tokens:5"])
    )
    assert plain == BackboneInput(None, IMAGENET_MEAN, IMAGENET_STD, "rgb", 1.0, None, None) and not plain.stated
    assert (stated.size, stated.mean, stated.std, stated.tokens) == (96, (0.5,) * 3, (1.0, 2.0, 4.0), 5)
    assert stated.stated == {"size", "mean", "std", "tokens"} and stated.order == "rgb"


@pytest.mark.parametrize("text", ["size:33,mean:0.1/0.2/0.3,std:1e-05,order:bgr,range:255,layout:nhwc,tokens:class"])
def test_an_input_said_again_is_the_same(text):
    """As a run says it to whoever computes its features again."""
    (one,) = parse_backbones(["a=a.onnx"], [f"a={text}"])
    (again,) = parse_backbones(["a=a.onnx"], [f"a={one.input.as_text()}"])
    keys = ("size", "mean", "std", "order", "range", "layout", "tokens")
    assert [getattr(again.input, key) for key in keys] == [getattr(one.input, key) for key in keys]
    entry = {key: getattr(one.input, key) for key in ("mean", "std", "order", "range", "layout")} | {"form": "class"}
    assert input_of_entry(entry, 33) == BackboneInput(33, *(getattr(one.input, key) for key in keys[1:]))


BAD = {
    "m.onnx": r"--backbone is 'm.onnx', expected NAME=FILE.onnx\[:OUTPUT\]",
    "a=m.pt": r"expected NAME=FILE.onnx\[:OUTPUT\], a file whose name ends in .onnx",
    "a=.onnx:": "whose name ends in .onnx",
    "a=": "whose name ends in .onnx",
    "=m.onnx": "--backbone '' is no name; give letters, digits",
    "a.b=m.onnx": "'a.b' is no name",
    "a:b=m.onnx": "'a:b' is no name",
    "a@3=m.onnx": "'a@3' is no name",
    "a,b=m.onnx": "'a,b' is no name",
    "../a=m.onnx": "'../a' is no name",
    "a\n=m.onnx": "is no name",
    "é=m.onnx": "is no name",
    "a" * 41 + "=m.onnx": "40 at most",
    "mobilenet_v2=m.onnx": "mobilenet_v2 has the name of a built-in network; give another name",
    "ResNet50=m.onnx": "ResNet50 has the name of a built-in network",
}


@pytest.mark.parametrize("text", BAD)
def test_a_backbone_that_cannot_be_meant(text):
    with pytest.raises(SettingsError, match=BAD[text]) as refused:
        parse_backbones([text], [])
    assert "\n" not in str(refused.value).replace("\\n", "")


def test_a_name_given_twice():
    with pytest.raises(SettingsError, match="a is given twice; two outputs of a file need two names"):
        parse_backbones(["a=m.onnx:x", "a=m.onnx:y"], [])


BAD_INPUTS = {
    "b=size:224": "'b=size:224' is of no backbone that was given; known: a",
    "a": "a says nothing; known: size, mean",
    "a=,": "a says nothing",
    "a=sise:224": "unknown 'sise'; known: size, mean, std, order, range, layout, tokens",
    "a=size:0": "size is '0', expected pixels along a side, 1 to 1024",
    "a=size:2048": "expected pixels along a side",
    "a=size:1e2": "expected pixels along a side",
    "a=size:9,size:9": "gives size twice",
    "a=mean:1/2": "mean is '1/2', expected one number or one for each channel",
    "a=mean:nan": "expected one number",
    "a=std:0": "std is '0', expected one number above 0",
    "a=std:1/-1/1": "expected one number above 0",
    "a=order:gbr": "order is 'gbr', expected rgb or bgr",
    "a=range:256": "range is '256', expected 1 or 255",
    "a=layout:chw": "layout is 'chw', expected nchw or nhwc",
    "a=tokens:-1": "tokens is '-1', expected how many tokens",
}


@pytest.mark.parametrize("text", BAD_INPUTS)
def test_an_input_that_cannot_be_meant(text):
    with pytest.raises(SettingsError, match=BAD_INPUTS[text]):
        parse_backbones(["a=m.onnx"], [text])


def test_an_input_without_a_backbone_and_one_given_twice():
    with pytest.raises(SettingsError, match="of no backbone that was given; give --backbone NAME=FILE"):
        parse_backbones([], ["a=size:9"])
    with pytest.raises(SettingsError, match="a is given twice; put all of it into one"):
        parse_backbones(["a=m.onnx"], ["a=size:9", "a=order:rgb"])
