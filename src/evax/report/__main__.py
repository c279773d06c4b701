"""`python -m evax.report results|curves|gained|sweep|baselines|transfer|workspace`: tables and figures of runs."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from evax.report.baselines import BaselinesError, read_runs
from evax.report.curves import CurvesError, write_curves
from evax.report.efficiency import write_baselines
from evax.report.gain import describe_gain
from evax.report.record import ResultError
from evax.report.results import write_results
from evax.report.sweep import SweepError, read_jobs, write_sweep
from evax.report.transfer import write_transfer
from evax.report.workspace import WorkspaceError, save_workspace

log = logging.getLogger("evax.report")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m evax.report", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    results = commands.add_parser("results", help="write the page of results from committed json files")
    results.add_argument("--results", type=Path, default=Path("results"), help="folder of *.json (results)")
    results.add_argument("--out", type=Path, default=Path("docs/results.md"), help="page (docs/results.md)")
    curves = commands.add_parser("curves", help="draw figures/curves.png of a run directory")
    curves.add_argument("run_dir", type=Path, help="folder that holds metrics.csv")
    gained = commands.add_parser("gained", help="say whether an evaluation beats its rivals; status 1 if not")
    gained.add_argument("folder", type=Path, help="folder that holds results.json")
    sweep = commands.add_parser("sweep", help="write the table and the plot of a multirun again")
    sweep.add_argument("folder", type=Path, help="folder that `train.py -m` has made")
    rivals = commands.add_parser("baselines", help="compare EVA-X with its rivals: size, cost, mAUC published and ours")
    rivals.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="fine-tuned runs, or folders of multiruns")
    rivals.add_argument("--speed", action="store_true", help="measure films/s too, relative to EVA-X-S (minutes)")
    rivals.add_argument("--out", type=Path, default=Path("runs/baselines"), help="folder (runs/baselines)")
    rivals.add_argument("--conf", type=Path, default=Path("conf"), help="folder of the configuration (conf)")
    transfer = commands.add_parser("transfer", help="classifiers on each other's test films, over shared findings")
    transfer.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="evaluations under features=classifier")
    transfer.add_argument("--out", type=Path, default=Path("runs/transfer"), help="folder (runs/transfer)")
    workspace = commands.add_parser("workspace", help="save a view of a W&B project: curves, ablations, scores")
    workspace.add_argument("--entity", required=True, help="user or team of the project")
    workspace.add_argument("--project", default="evax", help="as in logger.wandb.project (evax)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake ends it with one line and status 2."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.command == "results":
            write_results(options.results, options.out)
            log.info("wrote %s", options.out)
        elif options.command == "curves":
            log.info("wrote %s", write_curves(options.run_dir))
        elif options.command == "sweep":
            log.info("%s", write_sweep(options.folder, read_jobs(options.folder)))
        elif options.command == "baselines":
            log.info("%s", compare_baselines(options))
        elif options.command == "transfer":
            log.info("%s", compare_test_sets(options))
        elif options.command == "workspace":
            log.info("saved: %s", save_workspace(options.entity, options.project))
        else:
            text, is_above = describe_gain(options.folder)
            log.info("%s", text)
            parser.exit(0 if is_above else 1)
    except (ResultError, CurvesError, SweepError, BaselinesError, WorkspaceError) as error:
        parser.exit(2, f"error: {error}\n")


def compare_baselines(options: argparse.Namespace) -> str:
    """Read the runs before the backbones are counted, which takes half a minute and torch."""
    from evax.commands.evaluate.baselines import measured
    from evax.config import ConfigError

    ours, setting = read_runs(options.runs)
    try:
        sizes = measured(options.conf, with_speed=options.speed)
    except ConfigError as error:
        raise BaselinesError(str(error)) from error
    return f"{write_baselines(options.out, sizes, ours, setting)}wrote {options.out}/baselines.md, .csv and .png"


def compare_test_sets(options: argparse.Namespace) -> str:
    """One matrix of classifiers and test sets, findings by their common names."""
    from evax.data.findings import SYNONYMS

    return f"{write_transfer(options.out, options.runs, SYNONYMS)}wrote {options.out}/transfer.md, .csv and .png"


if __name__ == "__main__":
    main()
