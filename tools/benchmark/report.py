"""What `bench.py` measured, as Markdown. Knows nothing of how it was measured."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(result: Mapping[str, Any]) -> str:
    """Rates, whole programs, ratios and what is absent, one table each."""
    head = f"{result['device']}, {result['cores']} cores, batches of {result['batch_size']}, {result['size']} pixels, "
    rounds = result["rounds"]
    head += f"medians and quartiles over rounds (device-only: {rounds['device']}, from files: {rounds['files']}), "
    head += f"{result['seconds']:.0f} s in all"
    parts = [head, _rates(result["rates"], result["at_once"]), _files(result["files"]), _ratios(result["ratios"])]
    parts.append(markdown_table(("absent", "why"), list(result["absent"].items())))
    return "\n\n".join(part for part in parts if part)


def _rates(rates: Mapping[str, Any], at_once: Mapping[str, int]) -> str:
    return markdown_table(
        ("device-only", "threads", "images/s", "quartiles"),
        [
            (name, at_once[name], _number(r["median"]), f"{r['low']:.1f} to {r['high']:.1f}")
            for name, r in rates.items()
        ],
    )


def _files(files: Mapping[str, Any]) -> str:
    heads = ("from files", "images", "images/s, whole program", "images/s, without start-up", "start-up, s")
    return markdown_table(
        heads,
        [
            (name, f["images"], *(_number(f[key]["median"]) for key in ("whole", "marginal", "start_up")))
            for name, f in files.items()
        ],
    )


def _ratios(ratios: list[dict[str, Any]]) -> str:
    lines = []
    for row in ratios:
        if row["ratio"] is None:
            lines.append((row["name"], "–", row["why"], f"{row['target']:.2f}", "–"))
            continue
        quartiles = f"{row['low']:.2f} to {row['high']:.2f}"
        reached = "yes" if row["reached"] else "no"
        lines.append((row["name"], f"{row['ratio']:.2f}", quartiles, f"{row['target']:.2f}", reached))
    return markdown_table(("ratio", "median", "quartiles", "at least", "reached"), lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A table; nothing where there are no lines."""
    if not lines:
        return ""
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (heads, ("---",) * len(heads), *lines))
