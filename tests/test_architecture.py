"""The rules of the house, read from the source: which way imports point, and what is never written."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "evax"
TREES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}

LAYERS = (
    {"commands"},
    {"predict"},
    {"runs"},
    {"config"},
    {"tasks", "callbacks"},
    {"explain", "evaluation"},
    {"backbones", "tokenizers", "masking", "heads", "losses", "optim", "checkpoints"},
    {"data"},
    {"hints", "progress"},
)
SIDEWAYS = {
    "callbacks": ("evax.tasks",),
    "backbones": ("evax.checkpoints.weights", "evax.checkpoints.published", "evax.checkpoints.resize"),
    "tokenizers": ("evax.backbones", *(f"evax.checkpoints.{name}" for name in ("weights", "published", "resize"))),
}
HOMES = {  # a library, and the only places that know it
    "lightning": ("commands/", "runs/", "tasks/", "callbacks/", "data/module.py"),
    "hydra": ("commands/", "config.py"),
    "omegaconf": ("commands/", "runs/", "config.py"),
}
DATA_WITH_TORCH = ("data/dataset.py", "data/module.py", "data/pixels.py", "data/randaugment.py", "data/sampler.py")
FORBIDDEN_NAMES = {"estimated_stepping_batches", "set_random_seed"}
MAX_LINES = 60


def unit(name: str) -> str:
    """The part of evax that a file or module belongs to: "data" of data/pack.py and evax.data.pack.

    `__main__` is an entry point, and belongs to "commands".
    """
    if name.endswith("__main__.py"):
        return "commands"
    return name.removeprefix("evax.").replace("/", ".").removesuffix(".py").partition(".")[0]


def layer(part: str) -> int:
    return next((number for number, parts in enumerate(LAYERS) if part in parts), -1)


def imports(file: str) -> list[str]:
    """Full names of all that a file imports, also inside functions."""
    found = []
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write the import in full, from evax."
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def inner_imports(file: str) -> list[str]:
    return [name for name in imports(file) if name.startswith("evax.")]


def may_import(file: str, name: str) -> bool:
    own, other = unit(file), unit(name)
    if own == other or own == "__init__":
        return True
    if "report" in (own, other):
        return own in ("commands", "runs")
    return layer(own) < layer(other) or f"{name}.".startswith(tuple(f"{each}." for each in SIDEWAYS.get(own, ())))


def within(file: str, homes: tuple[str, ...]) -> bool:
    return file.startswith(homes)


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{file}:{node.lineno} {node.name}", node


def none(violations: list[str], rule: str) -> None:
    assert not violations, f"{rule}:\n  " + "\n  ".join(violations)


def test_every_part_has_a_layer():
    parts = {unit(file) for file in TREES} - {"__init__", "report"}
    none([part for part in sorted(parts) if layer(part) < 0], "no layer is given for")


def test_imports_point_down():
    bad = [f"{file} imports {name}" for file in TREES for name in inner_imports(file) if not may_import(file, name)]
    none(
        bad,
        "imports point down only: commands > predict > runs > tasks, callbacks > explain, evaluation > models > data",
    )


def test_packages_form_no_cycle():
    below: dict[str, set[str]] = {}
    for file in TREES:
        below.setdefault(unit(file), set()).update({unit(name) for name in inner_imports(file)} - {unit(file)})
    below.pop("__init__", None)
    while free := [part for part, others in below.items() if not others & below.keys()]:
        for part in free:
            del below[part]
    none(sorted(below), "these packages import each other in a circle")


@pytest.mark.parametrize("library", HOMES)
def test_library_stays_in_its_home(library):
    homes = HOMES[library]
    users = [file for file in TREES if any(name.partition(".")[0] == library for name in imports(file))]
    none([file for file in users if not within(file, homes)], f"{library} is for {', '.join(homes)} only")


def test_data_is_made_without_torch():
    torch = {"torch", "torchvision", "timm", "lightning"}
    files = [file for file in TREES if file.startswith("data/") and file not in DATA_WITH_TORCH]
    bad = [file for file in files if torch & {name.partition(".")[0] for name in imports(file)}]
    none(bad, f"only {', '.join(DATA_WITH_TORCH)} may import torch")


def test_help_needs_no_torch():
    bad = [name for name in imports("config.py") if name.partition(".")[0] in {"torch", "timm", "lightning"}]
    none(bad, "config.py is imported for --help, without")


def test_nothing_unsafe_is_written():
    none([f"{file}: {found}" for file, tree in TREES.items() for found in unsafe(tree)], "never in this code")


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Calls and names that lose safety or reproducibility."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if keywords.get("weights_only") == "False":
                yield f"{node.lineno}: weights_only=False"
            if name.endswith("extractall") and "filter" not in keywords:
                yield f"{node.lineno}: extractall without filter"
            if name.rpartition(".")[2] == "Compose" and "seed" in keywords:
                yield f"{node.lineno}: Compose(seed=), which correlates the transforms"
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_NAMES:
            yield f"{node.lineno}: {node.attr}"
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute) and "torchvision.io" in ast.unparse(node):
            yield f"{node.lineno}: torchvision.io"
        if isinstance(node, ast.ImportFrom) and node.module == "torchvision" and "io" in {a.name for a in node.names}:
            yield f"{node.lineno}: torchvision.io"


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(file, weights_only=False)",
        "archive.extractall(folder)",
        "A.Compose([flip], seed=3)",
        "transform.set_random_seed(3)",
        "trainer.estimated_stepping_batches",
        "import torchvision.io",
        "from torchvision.io import read_image",
        "from torchvision import io",
        "torchvision.io.read_image(file)",
    ],
)
def test_unsafe_code_would_be_seen(text):
    assert list(unsafe(ast.parse(text)))


def test_functions_are_short():
    lengths = [(name, node.end_lineno - node.lineno + 1) for name, node in functions()]
    none([f"{name}: {lines}" for name, lines in lengths if lines > MAX_LINES], f"more than {MAX_LINES} lines")


def test_public_functions_are_typed():
    none([f"{name}: {', '.join(untyped(node))}" for name, node in functions() if untyped(node)], "types are missing")


def untyped(node: ast.FunctionDef) -> list[str]:
    """Names of arguments without a type, and "return"; nothing of private functions."""
    if node.name.startswith("_") and node.name != "__init__":
        return []
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    missing = [each.arg for each in given if each and each.annotation is None and each.arg not in ("self", "cls")]
    return missing + ["return"] * (node.returns is None)
