"""A saved view of a W&B project as code: curves over films seen, what a sweep varied, and final scores per run."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

AXIS, COSINE, MACRO, GAIN = "trainer/samples_seen", "val/cosine", "test/auroc_macro", "test/gain_over_random"
CURVES = {
    "Agreement with the target tokens": (COSINE, "val/cosine_excess"),
    "Loss": ("train/loss", "val/loss"),
    "Frozen features: macro AUROC on val": ("val/linear_auroc", "val/knn_auroc"),
    "Effective rank": ("val/feature_rank", "val/target_rank"),
}
VARIED = ("masking.ratio", "data.crop.min_area", "tokenizer.name")
SCORES = {"Probe: macro AUROC on test": MACRO, "Gain over random initialisation": GAIN, "Cosine on val": COSINE}


class WorkspaceError(ValueError):
    """A view that cannot be built or saved; one line naming the fix."""


def build_workspace(entity: str, project: str) -> "Workspace":
    """The view as an object; nothing is sent."""
    reports, workspaces = _library()
    return workspaces.Workspace(
        name="evax",
        entity=entity,
        project=project,
        sections=[_curves(reports, workspaces), _ablation(reports, workspaces), _scores(reports, workspaces)],
        settings=workspaces.WorkspaceSettings(x_axis=AXIS),
    )


def save_workspace(entity: str, project: str) -> str:
    """Save the view in a W&B project, and return its address."""
    workspace = build_workspace(entity, project)
    import wandb

    try:
        wandb.Api()  # refuses without a login, where saving would ask for one
        workspace.save()
    except (wandb.errors.Error, ValueError, OSError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise WorkspaceError(f"{entity}/{project}: cannot save the view ({first_line}); try `wandb login`") from error
    return str(workspace.url)


def _library() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise WorkspaceError("a view needs wandb-workspaces: `pip install -e '.[workspace]'`") from error
    return reports, workspaces


def _curves(reports: Any, workspaces: Any) -> "Section":
    plots = [reports.LinePlot(title=title, x=AXIS, y=list(names)) for title, names in CURVES.items()]
    return workspaces.Section(name="Learning", panels=plots, is_open=True)


def _ablation(reports: Any, workspaces: Any) -> "Section":
    columns = [_setting(reports, key) for key in VARIED]
    columns += [reports.ParallelCoordinatesPlotColumn(reports.SummaryMetric(name)) for name in (COSINE, MACRO)]
    plot = reports.ParallelCoordinatesPlot(title="What was varied, and what came out", columns=columns)
    plot.layout = reports.Layout(w=24, h=9)
    return workspaces.Section(name="Ablation", panels=[plot], is_open=True)


def _scores(reports: Any, workspaces: Any) -> "Section":
    bars = [reports.BarPlot(title=title, metrics=[name]) for title, name in SCORES.items()]
    table = reports.WeavePanelSummaryTable(table_name="test/per_class")
    films = reports.MediaBrowser(title="Masked films", media_keys=["figures/views"])
    return workspaces.Section(name="Scores", panels=[*bars, table, films], is_open=True)


def _setting(reports: Any, key: str) -> Any:
    """A column of a setting whose key has dots; the library takes those for nested settings, and asks elsewhere."""

    class FlatColumn(reports.ParallelCoordinatesPlotColumn):  # type: ignore[misc, name-defined]
        def _to_model(self) -> Any:
            model = super()._to_model()
            model.accessor = f"config:{key}.value"
            return model

    return FlatColumn(reports.Config(key))
