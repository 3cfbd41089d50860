"""Files that are refused before a picture is read, each in one sentence that names the file and what is wrong."""

import os

import numpy as np
import pytest
from support.onnx_networks import TensorProto, constant, helper, network, onnx, saved

from facedep_jax.backbones.onnx_backbones.load import load_backbone
from facedep_jax.backbones.onnx_backbones.options import parse_backbones
from facedep_jax.errors import FacedepError, SettingsError, WeightsError

FIVE = constant("flat", np.array([0, 1, 6, 8, 8], np.int64))
FLOAT, WHOLE = TensorProto.FLOAT, TensorProto.INT64


def backbone_of(path, how="", output=""):
    return load_backbone(parse_backbones([f"a={path}{output}"], [f"a={how}"] if how else [])[0])


def with_input(kind, shape):
    model = network()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))
    return model


def output_of(shape, *nodes, kind=FLOAT, constants=()):
    """The usual network with further nodes behind its vector, and their "z" as output."""
    model = network(form="vector", extra=nodes, outputs=[("z", kind, shape)])
    model.graph.initializer.extend(constants)
    return model


def several():
    return network(form="vector", outputs=[("y", FLOAT, ["n", 6]), ("g", FLOAT, ["n", 6, 1, 1])])


def two_inputs():
    model = network(
        form="vector", extra=[helper.make_node("Add", ["y", "more"], ["z"])], outputs=[("z", FLOAT, ["n", 6])]
    )
    model.graph.input.append(helper.make_tensor_value_info("more", FLOAT, ["n", 6]))
    return model


def of_domain():
    model = output_of(["n", 6], helper.make_node("FusedGelu", ["y"], ["z"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def in_a_branch():
    """An operator that nobody knows, in a branch of an If."""
    branch = [
        helper.make_graph(
            [helper.make_node(op, ["y"], [name])], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )
        for name, op in (("then", "Identity"), ("else", "Guess"))
    ]
    node = helper.make_node("If", ["yes"], ["z"], then_branch=branch[0], else_branch=branch[1])
    return output_of(["n", 6], node, constants=[constant("yes", np.array(True))])


def unconnected():
    return output_of(["n", 6], helper.make_node("Add", ["y", "nowhere"], ["z"]))


def without_inputs():
    model = network(form="vector")
    model.graph.initializer.append(constant("x", np.zeros((1, 3, 16, 16), np.float32)))
    del model.graph.input[:]
    return model


MODELS = {
    "several outputs": (several, r"m.onnx has the outputs y, g; say which: m.onnx:y"),
    "two inputs": (two_inputs, r"has 2 inputs \(x, more\); a network of one picture is expected"),
    "no input": (without_inputs, r"has 0 inputs \(none\)"),
    "bytes in": (lambda: with_input(TensorProto.UINT8, ["n", 3, 16, 16]), r"x is uint8 \(n, 3, 16, 16\), expected"),
    "bfloat16 in": (lambda: with_input(TensorProto.BFLOAT16, ["n", 3, 16, 16]), r"bfloat16 .*, expected float32, "),
    "a vector in": (lambda: with_input(FLOAT, ["n", 48]), r"x is float32 \(n, 48\), expected a picture \(n, 3, height"),
    "a clip in": (lambda: with_input(FLOAT, ["n", 3, 8, 16, 16]), r"expected a picture"),
    "grey": (lambda: with_input(FLOAT, ["n", 1, 16, 16]), r"\(n, 1, 16, 16\), expected three channels"),
    "either layout": (lambda: with_input(FLOAT, ["n", 3, 3, 3]), r"may be nchw or nhwc; say which with --backb"),
    "channels unknown": (lambda: with_input(FLOAT, ["n", "c", "h", "w"]), r"may be nchw or nhwc; say which"),
    "no square": (lambda: with_input(FLOAT, ["n", 3, 16, 32]), r"which is no square; crops of faces are squares"),
    "too large": (lambda: with_input(FLOAT, ["n", 3, 2048, 2048]), r"more than 1024 pixels a side"),
    "any size": (lambda: network(side="s"), r"x is float32 \(n, 3, s, s\), of any size; say which with .*size:224"),
    "whole numbers out": (
        lambda: output_of(["n", 6], helper.make_node("Cast", ["y"], ["z"], to=WHOLE), kind=WHOLE),
        r"the output z is int64 \(n, 6\), expected float",
    ),
    "a number out": (
        lambda: output_of(["n"], helper.make_node("ReduceMean", ["y"], ["z"], axes=[1], keepdims=0)),
        r"the output z of 1 pictures is \(1,\), expected a row for each|expected a vector",
    ),
    "an oblong map out": (
        lambda: network(form="map", extra=[helper.make_node("ReduceMean", ["y"], ["z"], axes=[3])],
                        outputs=[("z", FLOAT, ["n", 6, 8, 1])]),
        r"the output z is \(n, 6, 8, 1\), which is no square map",
    ),
    "four dimensions of one picture out": (
        lambda: network(extra=[helper.make_node("Reshape", ["y", "flat"], ["z"])],
                        outputs=[("z", FLOAT, ["n", 1, 6, 8, 8])], constants=[FIVE]),
        r"the output z is \(n, 1, 6, 8, 8\), expected a vector \(n, c\), a map \(n, c, h, w\), or tokens",
    ),
    "another's operator": (of_domain, r"operators that are not in ONNX's standard: com.example::FusedGelu; export"),
    "an operator in a branch": (in_a_branch, r"not in ONNX's standard: Guess"),
    "an operator of no version": (lambda: output_of(["n", 6], helper.make_node("Mystery", ["y"], ["z"])), "Mystery"),
    "noise": (
        lambda: output_of(["n", 6], helper.make_node("RandomNormalLike", ["y"], ["z"])),
        r"m.onnx draws numbers at random \(RandomNormalLike\); export it as it is used after training",
    ),
    "an unconnected node": (unconnected, r"m.onnx is no valid ONNX graph: .*nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("what", MODELS)
def test_a_graph_that_cannot_be_used(tmp_path, what):
    make, said = MODELS[what]
    path = saved(tmp_path / "m.onnx", make())
    with pytest.raises((SettingsError, WeightsError), match=said) as refused:
        backbone_of(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_an_output_of_several_is_chosen_by_name(tmp_path):
    path = saved(tmp_path / "m.onnx", several())
    assert str(backbone_of(path, output=":g").tap()) == "a:g@1"
    with pytest.raises(SettingsError, match=r"m.onnx has no output 'z'; it has y, g"):
        backbone_of(path, output=":z")


def test_an_output_s_name_becomes_part_of_a_tap_s(tmp_path):
    nodes = [helper.make_node("Identity", ["y"], ["/last/Relu:0@1,~x"])]
    path = saved(tmp_path / "m.onnx", form="vector", extra=nodes, outputs=[("/last/Relu:0@1,~x", FLOAT, ["n", 6])])
    backbone = backbone_of(path)
    assert str(backbone.tap()) == "a:last_Relu_0_1_x@1"
    assert backbone.spec_entry()["output"] == "/last/Relu:0@1,~x"


def test_what_is_stated_has_to_fit_the_graph(tmp_path):
    path = saved(tmp_path / "m.onnx")
    for how, said in (
        ("size:32", r"x is float32 \(n, 3, 16, 16\), and --backbone-input says size:32; leave it out, or export"),
        ("layout:nhwc", r"which is not nhwc; leave layout out"),
        ("tokens:1", r"y is \(n, 6, 8, 8\), which are no tokens"),
    ):
        with pytest.raises(SettingsError, match=said):
            backbone_of(path, how)
    assert backbone_of(path, "size:16,layout:nchw").picture.size == 16


def test_tokens_that_are_no_square(tmp_path):
    """Registers beside the class token: nobody can tell from the file how many there are."""
    pad = [
        helper.make_node("Concat", ["y", "y2"], ["z"], axis=1),
        helper.make_node("Slice", ["y", "from", "to", "at"], ["y2"]),
    ]
    model = network(form="tokens", extra=pad[::-1], outputs=[("z", FLOAT, ["n", 69, 6])])
    model.graph.initializer.extend(
        [constant(n, np.array([v], np.int64)) for n, v in (("from", 0), ("to", 5), ("at", 1))]
    )
    path = saved(tmp_path / "m.onnx", model)
    with pytest.raises(SettingsError, match=r"z is \(n, 69, 6\), and 68 are no square of places; say with .*tokens:N"):
        backbone_of(path)
    assert (backbone_of(path, "tokens:5").grid.side, backbone_of(path, "tokens:5").grid.leading) == (8, 5)
    assert backbone_of(path, "tokens:class").grid.side == 1
    with pytest.raises(SettingsError, match="66 are no square"):
        backbone_of(path, "tokens:3")


def test_files_that_are_no_graphs(tmp_path):
    whole = network(form="vector").SerializeToString()
    contents = {
        "cut.onnx": (whole[: len(whole) // 2], "is no ONNX file, or one that was cut off"),
        "text.onnx": (b"hello, this is not it" * 9, "is no ONNX file"),
        "empty.onnx": (b"", "is no ONNX file: it holds no graph"),
        "picture.onnx": (b"\x89PNG\r\n\x1a\n" + bytes(64), "is no ONNX file"),
    }
    for name, (content, said) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=f"{name} {said}"):
            backbone_of(path)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(WeightsError, match=r"folder\.onnx is no regular file"):
        backbone_of(tmp_path / "folder.onnx")
    with pytest.raises(WeightsError, match=r"absent\.onnx does not exist"):
        backbone_of(tmp_path / "absent.onnx")
    (tmp_path / "large.onnx").touch()
    os.truncate(tmp_path / "large.onnx", 3 << 30)
    with pytest.raises(WeightsError, match=r"large\.onnx has 3,221,225,472 bytes; a graph and its data may have 2 GB"):
        backbone_of(tmp_path / "large.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(WeightsError, match=r"pipe\.onnx is no regular file"):
        backbone_of(tmp_path / "pipe.onnx")


def test_a_file_with_any_bit_turned_is_refused_or_another(tmp_path):
    """No damage ends otherwise than in a sentence, or in a network of another hash."""
    path = saved(tmp_path / "m.onnx", form="vector")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    true = backbone_of(path).sha256
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(damaged)
        try:
            assert bytes(damaged) == whole or backbone_of(path).sha256 != true
        except FacedepError as error:
            assert str(path) in str(error) or "backbone" in str(error)


def external(path, place="m.data"):
    """A network with its kernel in a file beside it."""
    model = network(form="vector")
    onnx.save_model(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    held = onnx.load(path, load_external_data=False)
    for tensor in held.graph.initializer:
        for entry in tensor.external_data:
            entry.value = place if entry.key == "location" else entry.value
    path.write_bytes(held.SerializeToString())
    return path


def test_data_beside_the_graph_is_taken_and_pinned(tmp_path):
    path = external(tmp_path / "m.onnx")
    backbone = backbone_of(path)
    assert list(backbone.spec_entry()["data"]) == ["m.data"]
    data = bytearray((tmp_path / "m.data").read_bytes())
    data[8] ^= 1
    (tmp_path / "m.data").write_bytes(data)
    other = backbone_of(path)
    assert other.sha256 == backbone.sha256 and other.spec_entry() != backbone.spec_entry()
    with pytest.raises(WeightsError, match="changed while it was used"):
        backbone.read()
    (tmp_path / "m.data").write_bytes(data[:100])
    with pytest.raises(WeightsError, match=r"k ends beyond m\.data, which was cut off"):
        backbone_of(path)
    (tmp_path / "m.data").unlink()
    with pytest.raises(WeightsError, match=r"m\.data does not exist, and .*m\.onnx keeps data in it"):
        backbone_of(path)


@pytest.mark.parametrize("place", ["../secret", "sub/../../secret", "/etc/hostname", "", ".."])
def test_data_elsewhere_is_not_opened(tmp_path, place):
    (tmp_path / "secret").write_bytes(bytes(10_000))
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "sub").mkdir()
    with pytest.raises(WeightsError, match=r"m\.onnx keeps data at .*; only files in its own folder are read"):
        backbone_of(external(folder / "m.onnx", place))


def test_data_behind_a_link_that_leads_out_is_not_opened(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(10_000))
    folder = tmp_path / "inner"
    folder.mkdir()
    path = external(folder / "m.onnx", "link")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(WeightsError, match=r"keeps data at 'link'; only files in its own folder"):
        backbone_of(path)
