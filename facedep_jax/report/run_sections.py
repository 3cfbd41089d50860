"""What came out of a run, section by section, with what to read from it. It knows only the summary."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from facedep_jax.disclaimer import sides
from facedep_jax.report.document import Block, PlotFile, Section, estimate, interval, number, sentences, sign
from facedep_jax.report.headline import headline_table, is_told
from facedep_jax.report.run_report_tables import (
    calibration_table,
    differences_table,
    each_emotion_table,
    emotions_table,
    figures_table,
    models_table,
    operating_table,
    predictive_table,
    raters_of_models_table,
    raters_table,
    subgroups_table,
)
from facedep_jax.subject_ids import by_words, of_subjects

Summary = Mapping[str, Any]

PICTURES = {
    "models": PlotFile("models.png", "AUC of the head and its baselines, and paired differences.", True),
    "roc": PlotFile("roc.png", "ROC curves. Filled: the run's threshold. Hollow: thresholds chosen for a specificity."),
    "precision_recall": PlotFile("precision_recall.png", "Precision against recall, the prevalence dotted."),
    "confusion": PlotFile("confusion.png", "Confusion matrix at the run's threshold; parts are of a row."),
    "curves": PlotFile(
        "curves.png",
        "Training and validation by epoch; thin lines are members of the ensemble. Training is averaged over an epoch "
        "while it goes on, with dropout; validation is measured after it, without.",
        True,
    ),
    "reliability": PlotFile(
        "reliability.png",
        "Ten bins of equal count, before and after calibration; bars are 95 % Wilson intervals that take items for "
        "independent, so with several items a person they are too narrow; where fewer than five subjects are on a side "
        "there are none.",
    ),
    "score_by_emotion": PlotFile(
        "score_by_emotion.png",
        "Boxes: quartiles of the scores, whiskers to at most 1.5 times their distance. Dots and bars: means with 95 % "
        "intervals, which five or more subjects have.",
        True,
    ),
}


def reported_split(summary: Summary) -> str:
    """test where there are test items, else val."""
    return "test" if summary["metrics"]["test"] else "val"


def result_sections(summary: Summary, positive: Sequence[str], plots: Collection[str] = ()) -> list[Section]:
    """Sections on figures, baselines, calibration, decisions, emotions, groups and raters, of the split reported.

    `plots` names the pictures that there are; each stands in its section.
    """
    split = reported_split(summary)
    metrics = summary["metrics"][split]

    def shown(*names: str) -> tuple[PlotFile, ...]:
        return tuple(PICTURES[name] for name in names if name in plots)

    return [
        Section(
            f"What came out, on {split}",
            (
                headline_table(metrics, positive, split),
                _measured(summary, metrics, positive),
                figures_table(metrics, positive),
                *shown("confusion", "roc", "precision_recall"),
            ),
        ),
        Section("Beside simpler models", (*_beside(summary, split), *shown("models", "curves"))),
        Section("Calibration", (_CALIBRATION, calibration_table(metrics), *shown("reliability"))),
        Section("Decisions", (operating_table(metrics), predictive_table(metrics, positive))),
        Section(
            "What the score means for each emotion",
            (*_emotions(metrics, positive), *shown("score_by_emotion")),
        ),
        Section("Groups", _groups(metrics, positive)),
        Section("Agreement of raters", _raters(summary, split)),
    ]


_CALIBRATION = (
    "Scale and bias of the logit were fitted on validation items. Before: the members' mean logit as it is. A slope "
    "below 1 means scores that are too far from one half, an intercept below 0 scores that are too high."
)


def _emotions(metrics: Mapping[str, Any], positive: Sequence[str]) -> list[Block]:
    each = each_emotion_table(metrics)
    return [emotions_table(metrics, positive), *sadness(metrics, positive), *([each] if each.rows else [])]


def _measured(summary: Summary, metrics: Mapping[str, Any], positive: Sequence[str]) -> str:
    by, (side, other) = metrics["ci_by"], sides(positive)
    return (
        f"{metrics['n']:,} items {of_subjects(metrics['subjects'], by)}, {100 * metrics['prevalence']:.1f} % of them "
        f"{side}. At the threshold of {summary['threshold']:.3f}, chosen on validation: "
        f"{confusion_words(metrics, side, other)}. Intervals are 95 %, by {by_words(by)}."
    )


def confusion_words(metrics: Mapping[str, Any], side: str, other: str) -> str:
    """What was decided of items of either side."""
    (tn, fp), (fn, tp) = metrics["confusion"]
    return (
        f"of {tp + fn:,} {side} items {tp:,} are decided {side} and {fn:,} {other}, of {tn + fp:,} {other} items "
        f"{tn:,} are decided {other} and {fp:,} {side}"
    )


def _beside(summary: Summary, split: str) -> list[Block]:
    blocks: list[Block] = [models_table(summary, split)]
    differences = differences_table(summary, split)
    blocks += [differences] if differences.rows else []
    for what, found in summary.get("cross_validation", {}).items():
        by = by_words(found.get("by") or summary["metrics"][split]["ci_by"])
        blocks.append(
            f"{what}, {len(found['folds'])} folds by {by} over train and val: AUC {found['auroc']:.3f} ± "
            f"{found['sd']:.3f} (standard deviation over folds)."
        )
        blocks += filter(None, [over_folds(found)])
    return blocks


def over_folds(probe: Mapping[str, Any]) -> str:
    """What the head is better by than the probe, over folds, and by which test; empty of other models."""
    if few := probe.get("too_few"):
        return sentences([few])
    if "vs_head" not in probe:
        return ""
    said = []
    for name, who in (("vs_head", "the head"), ("vs_single_head", "single heads on average")):
        found = probe[name]
        low, high = found["difference_ci"]
        said.append(f"{who} {sign(found['difference'])} ({sign(low)}, {sign(high)}), p = {found['p']:.2g}")
    return f"Minus the probe over folds: {'; '.join(said)} ({probe['vs_head']['test']})."


def sadness(metrics: Mapping[str, Any], positive: Sequence[str]) -> list[Block]:
    """What the score says of sadness itself; nothing where no item is sad, or where sadness is not meant."""
    said = []
    for name, others in (("auroc_sad_vs_rest", "all others"), ("auroc_sad_vs_neutral", "neutral ones")):
        if not is_told(name, metrics, positive):
            continue
        value, (low, high) = metrics[name], metrics[f"{name}_ci"]
        if low is None:
            said.append(f"Too few persons to say how the score tells sad faces from {others} (AUC {value:.2f}).")
            continue
        if low > 0.5:
            how = f"Sad faces score higher than {others}"
        elif high < 0.5:
            how = f"Sad faces score lower than {others}"
        else:
            how = f"The score cannot be said to tell sad faces from {others}"
        said.append(f"{how} (AUC {value:.2f}, {interval((low, high), 2)}).")
    return [" ".join(said)] if said else []


def _groups(metrics: Mapping[str, Any], positive: Sequence[str]) -> tuple[Block, ...]:
    left = left_out(metrics)
    rest = (left,) if left else ()
    if not metrics.get("subgroups"):
        return (
            "The listings name no groups to compare (such as source, camera, age or sex), so how far figures differ "
            "between groups of people has not been measured.",
            *rest,
        )
    return (*(subgroups_table(column, found, positive) for column, found in metrics["subgroups"].items()), *rest)


def left_out(metrics: Mapping[str, Any]) -> str:
    """Which columns of the listings are not compared, and why; empty where all are."""
    columns = metrics.get("not_compared") or {}
    return f"Not compared: {'; '.join(f'{name} ({why})' for name, why in columns.items())}." if columns else ""


def _raters(summary: Summary, split: str) -> tuple[Block, ...]:
    metrics = summary["metrics"][split]
    if not metrics.get("raters"):
        return (
            "No second label was at hand (a column such as emotion2), so it is not known how far people agree on these "
            "items. Where raters agree little, no head can be right often.",
        )
    blocks: list[Block] = []
    for column, found in metrics["raters"].items():
        blocks += [raters_table(column, found), raters_of_models_table(summary, split, column), _ceiling(found)]
    return tuple(blocks)


def _ceiling(found: Mapping[str, Any]) -> str:
    if found.get("too_few"):
        return f"{sentences(found['too_few'])} So little says nothing of how far a head may agree."
    return (
        f"Two people agree on the proxy label for {100 * found['raters']['agreement']:.1f} % of these items "
        f"(κ {estimate(found['raters'], 'kappa')}). Agreement of the head with one of them "
        f"({number(found['head_and_first']['agreement'])}, {number(found['head_and_second']['agreement'])}) that is "
        "higher would say that it learned this rater's habits, not that it sees more."
    )
