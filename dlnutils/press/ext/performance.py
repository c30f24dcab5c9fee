"""The performance page: ratios, growth and plots, all of them from the record of one benchmark run.

The record is ``records/bench.json``, which `make bench` writes. Nothing on the page is typed by hand, and the pictures are
drawn while Sphinx reads it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json

import matplotlib as mpl
import numpy as np
from docutils import nodes
from matplotlib import ticker
from matplotlib.figure import Figure
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ...store import package_hash
from .. import style
from ..bench import seconds_of
from ..words import exponent, seconds, times
from .pieces import keep_file, root_file, sentence, table

PANEL = (3.6, 3.9)                 # inches: two beside each other on a wide page, one on a phone
LINES = (4.6, 0.37)                # inches: width of the plot of ratios, and height of each of its lines


def crossing(first: dict, second: dict) -> float:
    """The size at which two fitted laws cost the same, with two digits."""
    def offset(law):
        return np.mean(np.log(law["medians"])) - law["exponent"] * np.mean(np.log(law["sizes"]))
    log_size = (offset(second) - offset(first)) / (first["exponent"] - second["exponent"])
    return float(f"{np.exp(log_size):.2g}")


def read_record(env) -> dict:
    """The record; the page that asks is made anew when it changes."""
    return json.loads(root_file(env, "records/bench.json").read_text(encoding="utf-8"))


def lines_of(record: dict, kind: str) -> dict[str, list[dict]]:
    """The comparisons of a kind, those that differ in size alone together, in the order of the record."""
    lines = {}
    for row in record["comparisons"]:
        if row["kind"] == kind:
            lines.setdefault(row["line"], []).append(row)
    return lines


def draw_ratios(record: dict) -> Figure:
    """One line a comparison, one dot a size, light (small) to dark (large); the words stand above their line."""
    parts = [("beside what it replaces", lines_of(record, "replaces")),
             ("beside bare products", lines_of(record, "overhead"))]
    parts = [(words, lines) for words, lines in parts if lines]
    heights = [len(lines) for _, lines in parts]
    fig = Figure(figsize=(LINES[0], LINES[1] * sum(heights) + 1.1), layout="constrained")
    ratios = [row["ratio"] for row in record["comparisons"]]
    low, high = min(ratios) / 1.6, max(ratios) * 8                       # the numbers stand at the right
    for ax, (words, lines) in zip(np.atleast_1d(fig.subplots(len(parts), sharex=True, height_ratios=heights)), parts):
        for y, (line, rows) in enumerate(lines.items()):
            values = [row["ratio"] for row in rows]
            ax.plot([min(values + [1]), max(values + [1])], [y, y], color="0.8", linewidth=2, zorder=1)
            shades = style.sequential(len(rows)) if len(rows) > 1 else [style.sequential(3)[1]]
            ax.scatter(values, [y] * len(rows), c=shades, s=34, zorder=3, edgecolors="white", linewidths=0.6)
            ax.annotate(line, (0, y), xycoords=("axes fraction", "data"), xytext=(3, 5), textcoords="offset points", fontsize=8,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8}, zorder=4)
            ends = list(dict.fromkeys([times(values[0]), times(values[-1])]))
            ax.annotate(" to ".join(ends), (1, y), xycoords=("axes fraction", "data"), xytext=(-2, 5),
                        textcoords="offset points", ha="right", fontsize=8, fontweight="bold")
        ax.axvline(1, color="0.1", linewidth=1.0, zorder=2)
        ax.set(xscale="log", xlim=(low, high), ylim=(len(lines) - 0.55, -0.75), yticks=[])
        ax.set_title(words, loc="left", fontsize=8, style="italic", color="0.35")
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
    ax.set_xlabel("times faster (left of 1: slower)")
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
    return fig


def draw_panel(laws: list[dict]) -> Figure:
    """Measured times and fitted laws of one panel, with the exponents in the legend."""
    fig = Figure(figsize=PANEL, layout="constrained")
    ax = fig.subplots()
    colors = [style.COLORS[name] for name in ("blue", "vermilion", "green", "purple", "orange")]
    for law, color, marker in zip(laws, colors, "osD^v"):
        sizes, medians = np.array(law["sizes"], dtype=float), np.array(law["medians"])
        fit = np.exp(np.mean(np.log(medians)) + law["exponent"] * (np.log(sizes) - np.mean(np.log(sizes))))
        ax.plot(sizes, fit, color=color, linestyle=(0, (4, 2)), linewidth=1.2, zorder=2)
        ax.plot(sizes, medians, marker, color=color, markersize=5, zorder=3, markeredgecolor="white", markeredgewidth=0.5,
                label=f"{law['words']}: {exponent(law)}")
    ax.set(xscale="log", yscale="log", xlabel=laws[0]["against"], ylabel="seconds of one thread")
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if high / low < 50:                                              # too few powers of ten to read a value by
            axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    fig.legend(loc="outside lower left", handlelength=1.0, borderaxespad=0.2)
    return fig


def save(env, name: str, figure: Figure) -> str:
    """Write a picture where Sphinx finds it, the same bytes for the same content; return its address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return keep_file(env, f"performance-{name}.svg", buffer.getvalue())


def draw(env, name: str, function, *args) -> str:
    """Draw in the book's style, without changing what other pages draw with."""
    with mpl.rc_context():
        style.use_style()
        salt = hashlib.sha256(name.encode()).hexdigest()[:8]
        mpl.rcParams["svg.hashsalt"] = salt                               # ids in the file that do not change from run to run
        return save(env, name, function(*args))


class Performance(SphinxDirective):
    """``dln-performance:: part``: a part of the page, from the record.

    Parts are ``facts`` (date, processor, versions), ``ratios`` and ``growth`` (the plots; the content is the caption), ``table
    replaces`` and ``table overhead`` (the comparisons), ``exponents`` (the growth as a table) and ``groups`` (all medians of
    the groups of benchmarks that the content names, a line each; ``*`` stands for anything).
    """

    required_arguments = 1
    optional_arguments = 1
    has_content = True

    def run(self):
        parts = {"facts": self.facts, "ratios": self.ratios, "growth": self.growth, "table": self.comparisons,
                 "exponents": self.exponents, "groups": self.groups}
        if self.arguments[0] not in parts:
            raise self.error(f"dln-performance: no part {self.arguments[0]!r}; choose from {', '.join(parts)}")
        self.record = read_record(self.env)
        return parts[self.arguments[0]]()

    def facts(self):
        record, versions = self.record, self.record["versions"]
        fresh = ("the package as it is now" if record["package_hash"] == package_hash() else
                 "an earlier state of the package than this page shows")
        threads = {"1": "one thread"}.get(record["blas_threads"], f"{record['blas_threads']} threads")
        rows = (("Date", record["date"]), ("Processor", record["processor"]), ("Threads", threads),
                ("Clock", record["timer"]),
                ("Versions", ", ".join(f"{name} {versions[name.lower()]}" for name in ("Python", "NumPy", "SciPy", "torch")
                                       if name.lower() in versions)),
                ("Measured", fresh))
        out = nodes.bullet_list(classes=["dln-shared"])
        out += [nodes.list_item("", sentence(nodes.strong("", name), f" {value}")) for name, value in rows]
        return [out]

    def picture(self, uri: str, alt: str) -> nodes.image:
        return nodes.image(uri=uri, alt=alt)

    def caption(self) -> list[nodes.Node]:
        holder = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, holder)
        return [nodes.legend("", *holder.children)] if holder.children else []

    def ratios(self):
        best = max(self.record["comparisons"], key=lambda row: row["ratio"])
        worst = min(self.record["comparisons"], key=lambda row: row["ratio"])
        alt = (f"Dots on a logarithmic axis, one line a comparison. The largest ratio is {times(best['ratio'])}: {best['what']}, "
               f"instead of {best['instead_of']}. The smallest is {times(worst['ratio'])}: {worst['what']}, beside "
               f"{worst['instead_of']}. The table below has them all.")
        image = self.picture(draw(self.env, "ratios", draw_ratios, self.record), alt)
        return [nodes.figure("", image, *self.caption(), classes=["dln-ratios"])]

    def growth(self):
        panels, grid = {}, nodes.container(classes=["dln-panels"])
        for law in self.record["growth"]:
            panels.setdefault(law["panel"], []).append(law)
        for name, laws in panels.items():
            told = "; ".join(f"{law['words']}: exponent {exponent(law)}" for law in laws)
            alt = f"Seconds against {laws[0]['against']}, both axes logarithmic, with fitted power laws. {told}."
            grid += nodes.figure("", self.picture(draw(self.env, f"growth-{name}", draw_panel, laws), alt))
        caption = self.caption()
        return [grid] + [nodes.container("", *part.children, classes=["dln-panels-caption"]) for part in caption]

    def comparisons(self):
        kind = (self.arguments[1:] or ["replaces"])[0]
        rows = [(nodes.reference("", row["what"], internal=True, refuri=f"#{row['anchor']}"),
                 (seconds(row["seconds"]), "dln-number"),
                 row["instead_of"], (seconds(row["seconds_instead"]), "dln-number"), (times(row["ratio"]), "dln-number"))
                for row in self.record["comparisons"] if row["kind"] == kind]
        words = {"replaces": ("Instead of", "Faster by"), "overhead": ("Beside", "Relative speed")}
        if kind not in words:
            raise self.error(f"dln-performance: no kind {kind!r}; choose from {', '.join(words)}")
        return [table(("What", "takes", words[kind][0], "takes", words[kind][1]), rows,
                      (38, 11, 28, 11, 12), ["dln-performance"])]

    def exponents(self):
        rows = [(f"{law['name']}", f"{law['against']}: {law['sizes'][0]:,} to {law['sizes'][-1]:,}".replace(",", " "),
                 (exponent(law), "dln-number"), (f"{law['expected']:.2f}", "dln-number")) for law in self.record["growth"]]
        return [table(("Computation", "Sizes", "Fitted exponent", "By operations"), rows, (38, 34, 16, 12),
                      ["dln-performance"])]

    def groups(self):
        patterns = [line.strip() for line in self.content if line.strip()]
        for pattern in patterns:
            if not fnmatch.filter(self.record["groups"], pattern):
                raise self.error(f"dln-performance: the record has no group {pattern!r}")
        rows = []
        for group, members in self.record["groups"].items():
            if any(fnmatch.fnmatchcase(group, pattern) for pattern in patterns):
                rows += [(group if i == 0 else "", entry["name"].replace("_", " "),
                          (seconds(entry["median_seconds"]), "dln-number"), (str(entry["rounds"]), "dln-number"),
                          (f"{entry['ratio_to_first']:g}", "dln-number")) for i, entry in enumerate(members)]
        return [table(("Group", "Benchmark", "Median", "Rounds", "Of the first"), rows, (34, 30, 12, 10, 14),
                      ["dln-performance"])]


class Bench(SphinxRole):
    """``bench``: a number of the record.

    ``ratio FAST SLOW``, ``seconds NAME``, ``exponent FAMILY``, ``expected FAMILY``, ``crossing FAMILY / FAMILY``.
    """

    def run(self):
        record = read_record(self.env)
        medians = seconds_of(record)
        laws = {law["name"]: law for law in record["growth"]}
        what, _, names = self.text.partition(" ")
        try:
            if what == "ratio":
                fast, slow = names.split()
                words = times(medians[slow] / medians[fast])
            elif what == "crossing":
                first, second = names.split(" / ")
                words = f"{crossing(laws[first], laws[second]):,.0f}".replace(",", " ")
            else:
                words = {"seconds": lambda: seconds(medians[names]), "exponent": lambda: exponent(laws[names]),
                         "expected": lambda: f"{laws[names]['expected']:.2f}"}[what]()
        except (KeyError, ValueError) as error:
            message = self.inliner.reporter.error(f"bench: cannot read {self.text!r} in the record ({error})", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.Text(words)], []


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-performance", Performance)
    app.add_role("bench", Bench())
    app.add_css_file("dln-performance.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
