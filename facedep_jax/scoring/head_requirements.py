"""What a head asks of whoever extracts features for it. Knows nothing of clips or pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facedep_jax.backbones.onnx_backbones.known_files import recall, sha256_at
from facedep_jax.backbones.onnx_backbones.onnx_backbone import FAMILY, input_of_entry
from facedep_jax.backbones.onnx_backbones.options import AskedBackbone, parse_backbones
from facedep_jax.backbones.taps import BACKBONES
from facedep_jax.backbones.weights.usual_folder import usual_folder
from facedep_jax.cache.feature_spec import made_of
from facedep_jax.errors import RunError, SettingsError, WeightsError
from facedep_jax.extraction import plan
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.progress_events import Note, Report, silent

if TYPE_CHECKING:
    from facedep_jax.head.trained_head import Head


def extract_settings(features: dict[str, Any], given: ExtractSettings) -> ExtractSettings:
    """`given`, with everything that decides features taken from the run's own spec.

    Untrained weights are made again from their seed; trained ones have to be found by `--weights` or downloaded, and
    networks of the user's own by `--backbone`, in the folder of `--weights`, or where they were last. Raises
    WeightsError where one is not found.
    """
    require_pictures(features)
    networks = own_networks(features, given)
    sizes = {name: size for name, size in features["size"].items() if name not in networks}
    return replace(
        given,
        weights=given.weights or _drawn_weights(features),
        taps=",".join(features["taps"]),
        color=features["color"],
        precision=features["precision"],
        size=",".join(f"{name}={size}" for name, size in sizes.items()) or ExtractSettings.size,
        backbone=tuple(asked for asked, _ in networks.values()) or None,
        backbone_input=tuple(how for _, how in networks.values()) or None,
    )


def _drawn_weights(features: dict[str, Any]) -> str | None:
    """How untrained weights are asked for."""
    seeds = {w["seed"] for w in features["weights"].values() if "seed" in w}
    return f"random:{seeds.pop()}" if seeds else None


def begin_reading_weights(features: dict[str, Any], given: str | None) -> None:
    """Read ahead what a plan of `extract_settings` will look for."""
    if "imported" not in features:
        built_in = [tap for tap in features["taps"] if tap.partition(":")[0] in BACKBONES]
        weights = given or _drawn_weights(features)
        plan.begin_reading_weights(ExtractSettings(weights=weights, taps=",".join(built_in)))


def require_pictures(features: dict[str, Any]) -> None:
    """Raise RunError for a run whose features no picture gives."""
    if "imported" in features:
        raise RunError(
            f"the run learned from {made_of(features)} ({', '.join(features['taps'])}), and this command makes "
            "features of pictures, which cannot be those; evaluate and describe use such a run on a cache that "
            "import-features made"
        )


def own_networks(features: dict[str, Any], given: ExtractSettings) -> dict[str, tuple[str, str]]:
    """What `--backbone` and `--backbone-input` have to say of each of the run's networks that is not built in.

    Raises WeightsError where a file is not found or holds another network, SettingsError for a `--backbone` that is
    none of the run's.
    """
    entries = {name: entry for name, entry in features["weights"].items() if entry["family"] == FAMILY}
    asked = {one.name: one for one in parse_backbones(given.backbone or (), ())}
    foreign = [name for name in asked if name not in entries]
    if foreign:
        held = ", ".join(entries) or "none"
        raise SettingsError(f"--backbone {foreign[0]} is no network of the run; those that are not built in: {held}")
    found = {}
    for name, entry in entries.items():
        try:
            how = input_of_entry(entry, features["size"][name]).as_text()
            output, sha256 = str(entry["output"]), str(entry["sha256"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"the run says of its network {name} what cannot be meant: {error!r}") from error
        file = _file_of(name, sha256, output, asked.get(name), given.weights)
        found[name] = f"{name}={file}:{output}", f"{name}={how}"
    return found


def _file_of(name: str, sha256: str, output: str, asked: AskedBackbone | None, weights: str | None) -> Path:
    """Where the run's network lies. Raises WeightsError, naming its hash, where it does not."""
    told = f"the run needs the ONNX file of its network {name} (SHA-256 {sha256})"
    if asked:
        held = sha256_at(asked.file)
        if held != sha256:
            what = f"holds {held}" if held else "cannot be read"
            raise WeightsError(f"{told}, and {asked.file} {what}; give that file")
        if asked.output not in (None, output):
            raise WeightsError(f"{told} by its output {output}, and not {asked.output}; leave :{asked.output} out")
        return asked.file
    usual = usual_folder()
    weights = weights or (usual.path if usual else None)
    folder = Path(weights) if weights and not weights.startswith("random:") else None
    remembered = recall(sha256)
    places = [remembered] if remembered else []
    places += sorted(folder.glob("*.onnx")) if folder else []
    for place in places:
        if sha256_at(place) == sha256:
            return place
    last = "nobody remembers where it was"
    if remembered:
        last = f"{remembered}, where it was last, {'holds another' if sha256_at(remembered) else 'is gone'}"
    raise WeightsError(f"{told}, and {last}; say where it is: --backbone {name}=FILE.onnx")


def aligned_as_learned(head: "Head", given: ExtractSettings, report: Report = silent) -> ExtractSettings:
    """`given`, with faces turned upright if those that the head learned from were, unless that was decided."""
    if given.align is not None or not any(record.get("align") for record in head.input.values()):
        return given
    report(Note("faces are turned upright, as those were that the run learned from; --no-align leaves them"))
    return replace(given, align=True)


@contextmanager
def naming_weights(head: "Head", given: ExtractSettings) -> Iterator[None]:
    """Where weights are not found in the block, say which ones the run needs: backbone, family and hash.

    Nothing is downloaded that cannot be what the run needs: only the official Keras files can be.
    """
    needed = {name: w for name, w in head.features["weights"].items() if w["family"] != FAMILY}
    listed = " and ".join(f"{name} ({w['family']}, SHA-256 {w['sha256']})" for name, w in needed.items())
    told = f"{head.path or 'the head'} needs the weights that its features came from: {listed}"
    unnamed = given.weights is None and usual_folder() is None
    if unnamed and not {w["family"] for w in needed.values()} <= {"keras", "random"}:
        raise WeightsError(f"{told}; give the folder that holds them with --weights DIR, or once with `weights use`")
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{told}. Not found: {error}") from error
