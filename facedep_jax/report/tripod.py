"""TRIPOD.md: the items of TRIPOD+AI (Collins et al., BMJ 385, 2024, e078378), filled as far as a study knows.

What a person has to write is marked. Knows only the summary.
"""

from collections.abc import Mapping
from typing import Any

from facedep_jax.report.document import Section, estimate, sentences
from facedep_jax.report.markdown import to_markdown

WRITE = "TO WRITE: "


def tripod(summary: Mapping[str, Any]) -> str:
    """The draft as Markdown, a section an item."""
    flow = "; ".join(f"{what}: {count:,}" for what, count in summary["flow"].items())
    figures = [
        f"{target}, {model}: {name.upper()} {estimate(entry, name)}"
        for target, name in (("classes", "auc"), ("scores", "mae"), ("order", "kappa_quadratic"))
        if summary[target]
        for model, entry in summary[target]["models"].items()
    ]
    persons = ", ".join(f"{name}: {count:,} persons judged" for name, count in summary["persons"].items())
    persons += "" if summary["positive"] is None else f", {summary['positive']:,} of them {summary['class_names'][1]}"
    said = {
        "1 Title": f"{WRITE}a model that was developed, validated, or both; population and outcome.",
        "2 Abstract": f"{WRITE}see TRIPOD+AI for abstracts.",
        "3 Background": f"{WRITE}why, for whom, which models exist; known inequalities between groups.",
        "4 Objectives": f"{WRITE}development or validation; what was planned before the data were looked at.",
        "5 Data": f"{', '.join(summary['tables'])}; features of {', '.join(summary['caches'])}. {WRITE}dates, consent.",
        "6 Participants": f"{WRITE}setting, how persons were found, in- and exclusion, treatments. Flow: {flow}.",
        "7 Data preparation": f"Clips were found by {summary['rule']}. Descriptors are those that `describe` gives; "
        "unknown values count as the mean of those learned from.",
        "8 Outcome": f"{WRITE}questionnaire or interview, who asked, when relative to the recording, whether blind.",
        "9 Predictors": f"Descriptors by the head {summary['run'] or '(none)'}. {WRITE}how faces were filmed.",
        "10 Sample size": f"{persons}. {WRITE}how it was arrived at.",
        "11 Missing data": "; ".join((*summary["warnings"], *summary["notes"])),
        "12 Analytical methods": "Ridge models on standardised descriptors, of each signal and of all, stacked; "
        "penalties and weights are chosen by leaving persons out among those learned from. "
        f"{summary['protocol']}. Intervals over persons, permutation of the whole protocol.",
        "13 Class imbalance": f"{summary['protocol']}; probabilities are as frequent as the class was.",
        "14 Fairness": f"Groups: {', '.join(summary['groups'])}." if summary["groups"] else f"{WRITE}why none.",
        "15 Model output": "Probability of the stated class, cut at 0.5, points of the questionnaire, or a band.",
        "16 Training versus evaluation": "No person is learned from and judged by the same model.",
        "17 Ethical approval": f"{WRITE}board and number, or why none.",
        "18 Open science": f"{WRITE}funding, conflicts, protocol, registration, data; config.toml repeats the study.",
        "19 Patient involvement": f"{WRITE}how, or that there was none.",
        "20 Results: participants": flow,
        "21 Model development": f"Coefficients are in metrics.json, carriers. {WRITE}characteristics of persons.",
        "22 Model specification": "As coefficients; a model for new persons is not kept.",
        "23 Model performance": "; ".join(figures),
        "24 Model updating": "None.",
        "25 Interpretation": f"{sentences(summary['verdicts'])} {WRITE}what follows, and what does not.",
        "26 Limitations": f"{WRITE}beside the page's list of what cannot be concluded.",
        "27 Usability": f"{summary['meaning']} {WRITE}who would use it, on what input, with what training.",
    }
    return to_markdown("TRIPOD+AI, a draft", [Section(name, (text,)) for name, text in said.items()])
