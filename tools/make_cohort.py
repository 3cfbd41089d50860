"""Cohorts of simulated persons with real faces, of whom it is known what there is to be found.

    python tools/make_cohort.py CACHE RUN OUT --persons 40 --differ smile=0.8 --differ length=0.7 --missing 0.1 0.2
    python tools/make_cohort.py CACHE RUN --recovery
    python tools/make_cohort.py CACHE RUN --study 14 --differ smile=0.8 --seed 100

CACHE holds pictures of faces, RUN is a head over emotions that reads its features. The first way writes OUT: a cache of
clips (a minute and a half each, 4 frames a second), persons.csv for `study`, and planted.json. `--differ TRAIT=AUC`
says in what the classes differ, and how well who knew the trait would tell them apart. The second way prints what the
study's own classifier makes of many cohorts that differ in nothing, in one trait, or only in how they were recorded.
The third way prints what `study` itself makes of so many cohorts, with bands and its attention head.
"""

import argparse
from pathlib import Path

from benchmark.report import markdown_table
from cohorts.by_study import judged_by_study
from cohorts.on_disk import write_cohort
from cohorts.persons import TRAITS, Plan
from cohorts.pictures import Pictures, look_at
from cohorts.recovery import PERSONS, nothing_planted, planted

from facedep_jax import open_cache
from facedep_jax.runs.run_directory import load_head

PERMUTATIONS = 100  # of which p is below 0.05 in 5 of 101 cases
COHORTS = (("smile", 10), ("sadness", 10), ("movement", 10), ("length", 4))  # of most persons, for 200 without effect


def recovery(pictures: Pictures, auc: float, cohorts: int, seed: int) -> None:
    """Print both tables; `cohorts` so many without effect, and in proportion of each trait."""
    heads = ("persons", "model", "cohorts", "p < 0.05", "interval holds 0.5", "AUC ± sd", "over all pairs")
    print(markdown_table(heads, list(nothing_planted(pictures, cohorts, PERMUTATIONS, seed))), flush=True)
    heads = ("differ in", "persons", "cohorts", "who knew", "descriptors", "confounds", "score")
    lines = []
    for number, (trait, largest) in enumerate(COHORTS, 1):
        people = PERSONS[-1] * max(1, cohorts * largest // 200)
        lines += planted(pictures, trait, auc, people, seed + number)
    print(f"\n{markdown_table(heads, lines)}")


def trait_of(text: str) -> tuple[str, float]:
    """`smile=0.8`"""
    name, _, auc = text.partition("=")
    if name not in TRAITS or not 0.5 <= float(auc or 0) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected TRAIT=AUC, 0.5 to 1, of {', '.join(TRAITS)}")
    return name, float(auc)


def at_least_one(text: str) -> int:
    """`14`"""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--persons", type=at_least_one, default=40)
    parser.add_argument("--differ", type=trait_of, action="append", default=[], metavar="TRAIT=AUC")
    parser.add_argument("--missing", type=float, nargs=2, default=(0.0, 0.0), metavar=("CONTROL", "DEPRESSED"))
    parser.add_argument("--recovery", action="store_true")
    parser.add_argument("--study", type=at_least_one, metavar="N", help="judge N cohorts, of --seed and those after it")
    parser.add_argument("--auc", type=float, default=0.8, help="of the traits, with --recovery")
    parser.add_argument("--cohorts", type=at_least_one, default=200, help="without effect, with --recovery")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if sum((given.recovery, given.out is not None, given.study is not None)) != 1:
        parser.error("give OUT, a folder for one cohort, or --recovery, or --study N")
    source = open_cache(given.cache)
    pictures = look_at(source, load_head(given.run))
    plan = Plan(given.persons, dict(given.differ), tuple(given.missing), given.seed)
    if given.recovery:
        recovery(pictures, given.auc, given.cohorts, given.seed)
    elif given.study is not None:
        heads = ("model", "cohorts", "order: AUC", "κ", "planted cut: AUC", "classes: AUC")
        print(markdown_table(heads, list(judged_by_study(plan, given.study, source, given.run, pictures))))
    else:
        print(write_cohort(plan, source, pictures, given.out))


if __name__ == "__main__":
    main()
