"""Turns a benchmark run into one small record: medians, and ratios between what was measured side by side."""

import datetime
import json
from pathlib import Path

from dlnutils import runner

RECORD = Path(__file__).resolve().parent.parent / "records" / "bench.json"


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Write ``records/bench.json``: every ratio is to the first benchmark of its group, in the same run."""
    groups = {}
    for bench in output_json["benchmarks"]:
        groups.setdefault(bench["group"] or bench["name"], []).append(bench)
    record = {"date": datetime.date.today().isoformat(), "processor": runner.processor(),
              "versions": runner.versions(), "package_hash": runner.package_hash(), "groups": {}}
    for name, members in groups.items():
        base = members[0]["stats"]["median"]
        record["groups"][name] = [
            {"name": bench["name"].removeprefix("test_"), "median_seconds": float(f"{bench['stats']['median']:.3g}"),
             "rounds": bench["stats"]["rounds"], "ratio_to_first": float(f"{bench['stats']['median'] / base:.3g}")}
            for bench in members]
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
