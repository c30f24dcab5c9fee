"""How everything here is measured, and where the result goes: ``records/bench.json`` and the README's table."""

import json
import math
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")         # before numpy is imported; ratios of threads are not our subject

import pytest  # noqa: E402

from dlnutils.press import bench as bench_record  # noqa: E402

SHORTEST_ROUND = 0.02                                      # seconds: the clock and the scheduler are then well below 1 %
BUDGET = 1.5                                               # seconds for all rounds of what is not slower than that


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="one round of everything, and the record goes to _build/ only")


def pytest_configure(config):
    """Processor time of one thread: on a quiet machine the elapsed time, and hardly disturbed by others on a shared one."""
    config.option.benchmark_timer, config.option.benchmark_disable_gc = "time.process_time", True
    config.option.benchmark_columns = ["median", "iqr", "rounds", "iterations"]


@pytest.fixture
def measure(benchmark, request):
    """Time a function: ``measure(f, *args, group=..., family=..., size=..., rounds=...)``.

    One call warms up and says how long a call takes. A round is then as many calls as fill 20 ms, and there are as
    many rounds as fill 1.5 s, but 5 to 15 of them; calls of more than half a second get 3 rounds. What takes longer still says
    its ``rounds`` itself and is not warmed up.
    """
    def run(function, *args, group, family=None, size=None, rounds=None):
        name = request.node.name.removeprefix("test_").replace("[", "_").rstrip("]")
        benchmark.group = group
        benchmark.extra_info.update({"name": name} | ({"family": family, "size": size} if family else {}))
        iterations = 1
        if rounds is None:
            start = time.process_time()
            function(*args)
            one = max(time.process_time() - start, 1e-7)
            iterations = math.ceil(SHORTEST_ROUND / one)
            rounds = 3 if one > 0.5 else min(15, max(5, int(BUDGET / (one * iterations))))
        if request.config.getoption("--quick"):
            rounds = 1
        benchmark.pedantic(function, args, rounds=rounds, iterations=iterations)
    return run


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """A whole run becomes the record, and the README's table follows; part of one or a quick one stays in ``_build``."""
    record = bench_record.make_record(output_json["benchmarks"])
    missing = bench_record.missing_from(record)
    whole = not missing and not config.getoption("--quick")
    path = bench_record.RECORD if whole else bench_record.ROOT / "_build" / "bench-record.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if whole:
        bench_record.update_readme(record)
    config.bench_summary = [f"record: {path.relative_to(bench_record.ROOT)}"]
    if missing:
        config.bench_summary.append(f"not a whole run, the committed record is untouched; {len(missing)} missing: "
                                    + ", ".join(missing[:5]) + ("..." if len(missing) > 5 else ""))
    config.bench_summary += ["", "The README's table" + " (written):" * whole + ":" * (not whole),
                             *bench_record.readme_table(record).splitlines()]


@pytest.hookimpl(trylast=True)                           # after the tables
def pytest_terminal_summary(terminalreporter, config):
    for line in getattr(config, "bench_summary", ()):
        terminalreporter.write_line(line)
