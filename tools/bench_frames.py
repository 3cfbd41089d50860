"""Which library holds listings: python tools/bench_frames.py [--rows 1000000] [--rounds 3].

Reads a ledger of listings (JSON lines), keeps the last line of each path, joins half of the items, counts splits by
emotion and items by subject, and writes and reads a CSV: with Polars, pandas and Arrow in turns, each in a process of
its own.
Prints medians of processor seconds and of the highest memory. A library that is not installed is named and left out.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

COLUMNS = ["source", "path"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        library, folder = options.one.split(":", 1)
        print(json.dumps(WORKS[library](Path(folder), options.rows)))
        return
    there = [name for name in WORKS if find_spec(name)]
    for name in WORKS.keys() - set(there):
        print(f"{name}: not installed")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "listings.jsonl", options.rows)
        rounds = [{name: measured(name, folder, options.rows) for name in there} for _ in range(options.rounds)]
    for name in there:
        figures = {key: statistics.median(each[name][key] for each in rounds) for key in rounds[0][name]}
        print(f"{name:8} " + ", ".join(f"{key} {value:.2f}" for key, value in figures.items()))


def measured(library: str, folder: str, rows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", f"{library}:{folder}", "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def write(path: Path, rows: int) -> None:
    with open(path, "w") as stream:
        for i in range(rows):
            said = {"source": "/data/faces", "path": f"train/sad/{i:07}.jpg", "item": f"{i:064x}"}
            said |= {"emotion": ("sad", "happy", "fear")[i % 3], "split": ("train", "val")[i % 2]}
            stream.write(json.dumps(said | {"subject": f"p{i % 5000}"}) + "\n")


def costs(begun: float, tables: float) -> dict[str, float]:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"tables s": tables - begun, "csv s": time.process_time() - tables, "GB": memory}


def with_polars(folder: Path, rows: int) -> dict[str, float]:
    import polars as pl

    begun = time.process_time()
    table = pl.read_ndjson(folder / "listings.jsonl").unique(COLUMNS, keep="last", maintain_order=True)
    items = pl.DataFrame({"item": [f"{i:064x}" for i in range(0, rows, 2)]}).with_row_index("row")
    table.join(items, on="item", how="left", maintain_order="left")
    table.group_by("split", "emotion").len()
    table.group_by("subject").agg(pl.col("item").n_unique(), pl.col("split").n_unique())
    tables = time.process_time()
    table.write_csv(folder / "t.csv")
    pl.read_csv(folder / "t.csv")
    return costs(begun, tables)


def with_pandas(folder: Path, rows: int) -> dict[str, float]:
    import pandas as pd

    begun = time.process_time()
    table = pd.read_json(folder / "listings.jsonl", lines=True, dtype=False).drop_duplicates(COLUMNS, keep="last")
    items = pd.DataFrame({"item": [f"{i:064x}" for i in range(0, rows, 2)], "row": range(len(range(0, rows, 2)))})
    table.merge(items, on="item", how="left")
    table.groupby(["split", "emotion"]).size()
    table.groupby("subject").agg({"item": "nunique", "split": "nunique"})
    tables = time.process_time()
    table.to_csv(folder / "t.csv", index=False)
    pd.read_csv(folder / "t.csv")
    return costs(begun, tables)


def with_arrow(folder: Path, rows: int) -> dict[str, float]:
    import pyarrow as pa
    from pyarrow import csv
    from pyarrow import json as lines

    begun = time.process_time()
    table = lines.read_json(folder / "listings.jsonl")
    table = table.append_column("n", pa.array(range(len(table))))
    table = table.take(table.group_by(COLUMNS).aggregate([("n", "max")])["n_max"])
    items = pa.table({"item": [f"{i:064x}" for i in range(0, rows, 2)], "row": list(range(0, rows, 2))})
    table.join(items, "item", join_type="left outer")
    table.group_by(["split", "emotion"]).aggregate([([], "count_all")])
    table.group_by("subject").aggregate([("item", "count_distinct"), ("split", "count_distinct")])
    tables = time.process_time()
    csv.write_csv(table, folder / "t.csv")
    csv.read_csv(folder / "t.csv")
    return costs(begun, tables)


WORKS = {"polars": with_polars, "pandas": with_pandas, "pyarrow": with_arrow}

if __name__ == "__main__":
    main()
