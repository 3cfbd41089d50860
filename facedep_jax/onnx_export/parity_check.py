"""An exported ONNX file against JAX: both see the same pictures. It knows nothing of how the file was made."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float, UInt8

from facedep_jax.backbones.engines import load_engine
from facedep_jax.errors import EngineError
from facedep_jax.extraction.plan import ExtractionPlan
from facedep_jax.head.batched_forward import proxy_logits
from facedep_jax.head.trained_head import Head
from facedep_jax.onnx_export.backbone_graph import input_name
from facedep_jax.onnx_export.head_graph import EMOTIONS
from facedep_jax.progress_events import Progress, Report
from facedep_jax.sources.synthetic_faces import EXPRESSIONS, draw_face, draw_person

TOLERANCE = 1e-3  # of probabilities
PICTURES = 8  # five drawn expressions, three of noise

Outputs = dict[str, Float[np.ndarray, "n ..."]]


def check_file(file: Path, head: Head, plan: ExtractionPlan, report: Report) -> dict[str, float]:
    """The largest difference of each output from JAX's (XLA float32 and the head), and of one picture from a batch.

    Raises EngineError where a probability is further than TOLERANCE from JAX's, or depends so far on its batch.
    """
    crops = pictures(plan)
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    report(Progress("check", 0, PICTURES, "pictures"))
    together = run_session(session, crops)
    alone = [run_session(session, {name: x[i : i + 1] for name, x in crops.items()}) for i in range(PICTURES)]
    expected = run_jax(head, plan, crops)
    report(Progress("check", PICTURES, PICTURES, "pictures"))
    found = {name: _apart(together[name], expected[name]) for name in together}
    judged = [name for name in ("probability", EMOTIONS) if name in together]
    found["batch"] = _most(_apart(together[name], np.concatenate([one[name] for one in alone])) for name in judged)
    apart = _most(found[name] for name in judged)
    if not _most([apart, found["batch"]]) <= TOLERANCE:  # NaN is wrong too
        raise EngineError(
            f"the ONNX file's probabilities are {apart:.2g} from JAX's, and those of one picture alone "
            f"{found['batch']:.2g} from those in a batch; at most {TOLERANCE:g} is allowed, so the file is not to be "
            f"used. onnxruntime {onnxruntime.__version__} may compute wrongly here: try another release"
        )
    return found


def pictures(plan: ExtractionPlan) -> dict[str, UInt8[np.ndarray, "n s s 3"]]:
    """Drawn faces and noise at every size of the plan, by input; the same ones always."""
    rng = np.random.default_rng(0)
    drawn = [draw_face(draw_person(0), np.array(expression), rng) for expression in EXPRESSIONS.values()]
    drawn += [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (7, 128, 299)]
    if plan.settings.color == "grey":
        drawn = [np.repeat(picture.mean(2, keepdims=True).astype(np.uint8), 3, axis=2) for picture in drawn]
    return {input_name(size): np.stack([_nearest(p, size) for p in drawn]) for size in sorted(plan.sizes.values())}


def _nearest(picture: UInt8[np.ndarray, "h h 3"], size: int) -> UInt8[np.ndarray, "s s 3"]:
    """Nearest pixels: how crops are resized is not what is compared."""
    at = np.arange(size) * len(picture) // size
    return picture[at][:, at]


def run_session(session: onnxruntime.InferenceSession, crops: dict[str, UInt8[np.ndarray, "n s s 3"]]) -> Outputs:
    """Every output by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, crops), strict=True))


def run_jax(head: Head, plan: ExtractionPlan, crops: dict[str, UInt8[np.ndarray, "n s s 3"]]) -> Outputs:
    """The same by XLA in float32 and the head."""
    engine = load_engine("xla", plan.weights, plan.taps, plan.sizes, "float32", PICTURES)
    tokens = engine({backbone: crops[input_name(size)] for backbone, size in plan.sizes.items()})
    clips = {tap: tokens[tap][:, None] for tap in head.taps}
    classes = head.class_logits(clips, np.zeros((PICTURES, 1), np.float32), np.ones((PICTURES, 1), bool))
    logits = proxy_logits(classes, head.positive)
    mean = logits.mean(0)
    found = {"probability": head.probability(mean), "logit": mean, "spread": head.probability(logits).std(0)}
    emotions = list(head.by_emotion(classes).values())
    return found | ({EMOTIONS: np.stack(emotions, 1)} if emotions else {})


def _most(values: Iterable[float]) -> float:
    """NaN where one is."""
    return float(np.max([*values]))


def _apart(a: Float[np.ndarray, "n ..."], b: Float[np.ndarray, "n ..."]) -> float:
    return float(np.abs(a - b).max())
