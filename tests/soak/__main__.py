"""The soak programs one after another, with the numbers of accidents that docs/reliability.md reports.

python -m soak [--only NAME]... from the folder above this one. Exits with 1 if a promise was broken or a planted bug
was not found.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from soak import endings, flips, kills, plants, recorder, refusals, writers
from soak.checks import Broken

PROGRAMS = ("kills", "signals", "killed", "refused", "accidents", "refusals", "flips", "writers", "plants")
Result = dict[str, Any]  # counts by name; `broken` lists promises that were not kept


def under_the_shim(module: str, folder: Path, *arguments: object) -> Iterator[Result]:
    """The lines that a program says which runs in a process with the shim."""
    command = [sys.executable, "-m", f"soak.{module}", str(folder), *map(str, arguments)]
    done = subprocess.run(command, env=recorder.preloaded(folder), stdout=subprocess.PIPE, text=True, check=True)
    yield from map(json.loads, done.stdout.splitlines())


def gathered(lines: Iterator[Result]) -> Result:
    """Those lines as one result."""
    result: Result = {"broken": []}
    for line in lines:
        result["broken"] += [line.pop("broken")] if "broken" in line else []
        result |= line
    return result


def real_refusals(folder: Path, number: int, calls: int, seed: int) -> Result:
    """Some refusals again, to processes of their own."""
    rng, ended, broken = random.Random(seed), [], []
    for _ in range(number):
        call, (error, lasting) = rng.randint(1, calls), rng.choice(refusals.MODES[1:])
        try:
            ended.append(refusals.real_command(folder, call, error, lasting))
        except Broken as said:
            broken.append(f"call {call} refused to a process of its own: {said}")
    failed = sum(status == refusals.FAILED for status in ended)
    return {"processes of their own": number, "of them ended with an error": failed, "broken": broken}


def planted(folder: Path, seed: int) -> Iterator[Result]:
    """Every planted bug, and after how many accidents it was found."""
    for program, most in (("accidents", 200), ("refusals", 1)):
        arguments, place = (most, seed) if program == "accidents" else (most,), folder / program
        place.mkdir()
        yield from under_the_shim(program, place, *arguments, *plants.AGAINST[program])
    for module, most in ((kills, 10), (flips, 100), (writers, 3)):
        name = module.__name__.rpartition(".")[2]
        for bug in plants.AGAINST[name]:
            place = folder / bug.replace(" ", "_")
            place.mkdir()
            result = module.run(place, most, seed, bug)
            broken, tried = result["broken"], result["tried"]
            by = f"{len(broken)} of {tried}, such as {broken[0]}" if broken else "not caught"
            yield {"planted": bug, "caught_after": tried if broken else None, "by": by}


@click.command()
@click.option("--kill", default=200, show_default=True, help="`kill -9` at random moments.")
@click.option(
    "--endings", "ended", default=200, show_default=True, help="Of every command, by signals; by kills; by refusals."
)
@click.option("--histories", default=1000, show_default=True, help="Histories of kills and power cuts.")
@click.option("--real-refusals", "real", default=40, show_default=True, help="Refused calls in whole processes.")
@click.option("--flip", default=3600, show_default=True, help="Flipped bits.")
@click.option("--pairs", default=20, show_default=True, help="Two writers at once.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(PROGRAMS),
)
def main(
    kill: int, ended: int, histories: int, real: int, flip: int, pairs: int, seed: int, only: tuple[str, ...]
) -> None:
    """Do accidents to caches and commands, and say what held."""

    def refused(folder: Path) -> Result:
        result = gathered(under_the_shim("refusals", folder, 1))
        own = real_refusals(folder, real, result["calls"], seed)
        return result | own | {"broken": result["broken"] + own["broken"]}

    def bugs(folder: Path) -> Result:
        found: dict[str, str] = {}  # by one program or another: ten kills may all miss what 200 accidents do not
        missed = dict.fromkeys(plants.PLANTS)
        for line in planted(folder, seed):
            if line["caught_after"] is not None:
                missed.pop(line["planted"], None)
                found[line["planted"]] = f"after {line['caught_after']}: {line['by']}"
        return {"tried": len(plants.PLANTS), "found": found, "broken": list(missed)}

    programs: dict[str, Callable[[Path], Result]] = {
        "kills": lambda folder: kills.run(folder, kill, seed),
        "signals": lambda folder: endings.run(folder, ended, seed, endings.SIGNALS),
        "killed": lambda folder: endings.run(folder, ended, seed, endings.KILLS),
        "refused": lambda folder: endings.run_refused(folder, ended, seed),
        "accidents": lambda folder: gathered(under_the_shim("accidents", folder, histories, seed)),
        "refusals": refused,
        "flips": lambda folder: flips.run(folder, flip, seed),
        "writers": lambda folder: writers.run(folder, pairs, seed),
        "plants": bugs,
    }
    good = True
    for name in only or programs:
        with tempfile.TemporaryDirectory(prefix="soak-") as place:
            result = programs[name](Path(place).resolve())
        good &= not result["broken"]
        click.echo(f"{name}: {json.dumps(result, indent=2)}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
