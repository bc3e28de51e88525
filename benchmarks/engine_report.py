"""The results of benchmarks/bench_engine.py as a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STREAMS = (1, 4, 16, 64, 256)
THREADS = (1, 2)
ENGINE = "engine"
Rates = dict[str, dict[str, float]]  # contestant -> "streams x threads" -> characters a second


def report(rates: Rates, result: dict[str, Any]) -> str:
    """Return the table. Ratios are to the loop with the better number of threads."""
    loop = max(rates["loop"].values())
    lines = [f"{'char/s':>12}" + "".join(f"{name:>12}" for name in rates) + f"{'engine/loop':>14}"]
    for key in rates[ENGINE]:
        cells = "".join(f"{rates[name].get(key, float('nan')):12,.0f}" for name in rates)
        lines.append(f"{key:>12}{cells}{rates[ENGINE][key] / loop:13.0f}x".replace("nan", "  -"))
    limits, first = result["limits"], result["first_character_ms"]
    go_on = result["continuation_ms"]
    many, one = limits["fp32_many_streams_limit"], limits["fp32_one_stream_limit"]
    lines += [
        f"sampling: {100 * result['sampling_share']:.0f} % of a step of 64 streams",
        f"first character of a new stream while 63 run: p50 {first['p50']:.1f} ms, "
        f"p99 {first['p99']:.1f} ms (prompt of {result['prompt_length']} characters)",
        f"first character of a continuation of {go_on['length']:,} characters: with a kept state "
        f"{go_on['from_end']:.1f} ms at the end, {go_on['from_cut']:.1f} ms at a cut; "
        f"without {go_on['read_again']:,.0f} ms",
        f"limits of this machine in fp32: sgemm {limits['sgemm_gflops']:.0f} GFLOP/s = "
        f"{many:,.0f} char/s, the engine reaches {100 * rates[ENGINE]['64x2'] / many:.0f} %; "
        f"bandwidth {limits['bandwidth_gb_per_s']:.0f} GB/s = {one:,.0f} char/s for one stream, "
        f"the engine reaches {100 * rates[ENGINE]['1x2'] / one:.0f} %",
        f"a serving process: {result['rss_mb']:.0f} MB at most, "
        f"{result['idle_cpu_percent']:.1f} % CPU when idle",
    ]
    return "\n".join(lines)


def plot(rates: Rates, path: Path) -> None:
    """Draw char/s over streams, a line for each contestant and thread count."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "charrnn"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    colours = {"loop": "#8a8f98", "torch": "#c2703d", "onnx_fp32": "#4b8a5f", ENGINE: "#3b5bdb"}
    for name, by_key in rates.items():
        for threads in THREADS:
            points = [
                (int(key.split("x")[0]), rate)
                for key, rate in by_key.items()
                if key.endswith(f"x{threads}")
            ]
            style = "-" if threads == max(THREADS) else "--"
            axes.plot(
                *zip(*points, strict=True),
                style,
                marker="o",
                color=colours[name],
                label=f"{name}, {threads} thread(s)",
            )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="streams",
        ylabel="characters a second",
        title="All streams together",
    )
    axes.set_xticks(STREAMS, [str(count) for count in STREAMS])
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
