"""From a Parquet file to a posterior without the rows in memory: time beside a plain scan, and peak memory.

    python benchmarks/out_of_core.py                     # 1e5, 1e6, 5e6 rows
    python benchmarks/out_of_core.py --rows 50000000 --folder /somewhere/large
    python benchmarks/out_of_core.py --rows 50000000 --workers 2  # a Dask cluster of local processes, by row group

Rows are simulated as y ~ x + (x | g) with 5,000 groups and written in row groups of 500,000. Each step runs in a
process of its own, whose peak memory is measured; the plain scan reads the same three columns in the same batches and
adds them up. Prints a table, and with ``--plot`` draws docs/out_of_core.png.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FORMULA = "y ~ x + (x | g)"
GROUPS = 5000
CHUNK = 500_000


def simulate(path: Path, rows: int, seed: int = 1) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    effects = rng.multivariate_normal([0, 0], [[0.25, 0.05], [0.05, 0.09]], GROUPS)
    writer = None
    for start in range(0, rows, CHUNK):
        n = min(CHUNK, rows - start)
        g, x = rng.integers(0, GROUPS, n), rng.normal(2, 1, n)
        y = 10 + effects[g, 0] + (0.5 + effects[g, 1]) * x + rng.normal(size=n)
        table = pa.table({"y": y, "x": x, "g": g, "unused": rng.normal(size=n)})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def scan(path: Path) -> dict:
    import pyarrow.parquet as pq

    start, total = time.perf_counter(), 0.0
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(CHUNK, columns=["y", "x", "g"]):
            total += sum(float(batch.column(k).to_numpy().sum()) for k in range(3))
    return {"seconds": time.perf_counter() - start, "total": total}


def fit(path: Path, workers: int = 0) -> dict:
    import poolwise as pw

    start = time.perf_counter()
    data, apart = on_a_cluster(path, workers) if workers else (pw.collapse(path, FORMULA), {})
    collapsed = time.perf_counter()
    model = pw.Model(FORMULA, data)
    reml = model.fit_frequentist()
    restricted = time.perf_counter()
    posterior = model.fit(seed=1, progress=False)
    done = time.perf_counter()
    return {
        "collapse": collapsed - start,
        "reml": restricted - collapsed,
        "posterior": done - restricted,
        "total": done - start,
        **apart,
        "slope": [float(reml.fixef["x"]), float(posterior.fixef["x"])],
        "r_hat": float(posterior.convergence.table["rhat"].max()),
    }


def on_a_cluster(path: Path, workers: int):
    """The sums by a Dask cluster of worker processes; of these the seconds of their start, and peak megabytes."""
    import dask.dataframe
    from distributed import Client, LocalCluster

    import poolwise as pw

    start = time.perf_counter()
    local = LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit="1GB", dashboard_address=None)
    with local as cluster, Client(cluster) as client:
        started = time.perf_counter() - start
        frame = dask.dataframe.read_parquet(path, columns=["y", "x", "g"], split_row_groups=1)
        data = pw.collapse(frame, FORMULA, client=client)
        return data, {"cluster": started, "worker_memory": list(client.run(peak_memory).values())}


def peak_memory() -> float:
    """Megabytes; of this program alone, where a child's ru_maxrss begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_process(step: str, path: Path, workers: int = 0) -> dict:
    """Run a step by itself; its seconds and its peak memory in megabytes."""
    command = [sys.executable, __file__, "--step", step, "--path", str(path), "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def plot(results: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows = [result["rows"] for result in results]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for key, marker in (("scan", "o"), ("collapse", "s"), ("total", "^")):
        label = {"scan": "plain scan", "collapse": "collapse", "total": "file to posterior"}[key]
        left.loglog(rows, [result[key] for result in results], marker=marker, label=label)
    left.set(xlabel="rows", ylabel="seconds")
    left.legend(frameon=False)
    right.semilogx(rows, [result["memory"] for result in results], marker="^", label="file to posterior")
    right.semilogx(rows, [result["scan_memory"] for result in results], marker="o", label="plain scan")
    right.set(xlabel="rows", ylabel="peak memory, MB", ylim=(0, None))
    right.legend(frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--step", choices=["scan", "fit"])
    parser.add_argument("--path", type=Path)
    parser.add_argument("--workers", type=int, default=0, help="processes of a Dask cluster; none by default")
    arguments = parser.parse_args()
    if arguments.step:
        path, workers = arguments.path, arguments.workers
        found = scan(path) if arguments.step == "scan" else fit(path, workers)
        print(json.dumps(found | {"memory": peak_memory(), "cpu": time.process_time()}))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for rows in arguments.rows:
            path = Path(folder) / f"{rows}.parquet"
            simulate(path, rows)
            in_process("scan", path)  # the file into the system's cache, for both alike
            plain, found = in_process("scan", path), in_process("fit", path, arguments.workers)
            path.unlink()
            results.append(found | {"rows": rows, "scan": plain["seconds"], "scan_memory": plain["memory"]})
            print(json.dumps(results[-1]), flush=True)
    print(f"{'rows':>12} {'scan':>8} {'collapse':>9} {'reml':>7} {'posterior':>10} {'total':>8} {'CPU':>8} {'MB':>6}")
    for one in results:
        print(
            f"{one['rows']:>12,} {one['scan']:>8.2f} {one['collapse']:>9.2f} {one['reml']:>7.2f} "
            f"{one['posterior']:>10.2f} {one['total']:>8.2f} {one['cpu']:>8.2f} {one['memory']:>6.0f}"
        )
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
