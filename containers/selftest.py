"""Run inside a new image: is in it what its recipe says, and does torch train?

It is copied into the image as /.probprec/test.py and ends every build. It imports nothing of ours,
and no line of it begins with `from`, which a Dockerfile's parser takes for its own.
"""

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile

EXPECTED = "/.probprec/expected.json"


def main(file: str = EXPECTED) -> None:
    """Look at everything; SystemExit names all that is wrong."""
    with open(file, encoding="utf-8") as content:  # noqa: PTH123  # as short as it gets
        expected = json.load(content)
    wrong = [*of_python(expected["python"]), *of_distributions(expected["distributions"])]
    if expected["torch"] and not wrong:
        wrong += of_torch(expected["torch"])
    if not wrong:
        wrong += [*of_training(), *(of_toolkit() if expected["toolkit"] else [])]
    if wrong:
        sys.exit("\n".join(["this image is not what its recipe says:", *wrong]))
    sys.stdout.write("this image is what its recipe says\n")


def of_python(expected: str) -> list[str]:
    """The interpreter that runs will call."""
    found = ".".join(map(str, sys.version_info[:2]))
    if found == expected:
        return []
    return [f"  python3 is Python {found}, expected {expected}; change `python` or `base`"]


def of_distributions(expected: dict[str, str | None]) -> list[str]:
    """Each one's version, and that it can be imported."""
    wrong = []
    for name, version in expected.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"  {name} is not installed")
            continue
        found = distribution.version
        if version is not None and version not in {found, found.partition("+")[0]}:
            wrong.append(f"  {name} is {found}, expected {version}")
        for module in modules_of(distribution):
            try:
                importlib.import_module(module)
            except Exception as error:  # noqa: BLE001  # whatever an import may raise
                wrong.append(f"  import {module}: {type(error).__name__}: {error}")
    return wrong


def modules_of(distribution: importlib.metadata.Distribution) -> list[str]:
    """The packages, by their names in Python: scikit-learn is sklearn."""
    named = (distribution.read_text("top_level.txt") or "").split()
    paths = [str(file) for file in distribution.files or []]
    packages = [path.split("/")[0] for path in paths if path.count("/") == 1]
    found = [path for path in paths if path.endswith("/__init__.py")]
    tops = named or [name for name in packages if f"{name}/__init__.py" in found]
    tops += (
        [] if tops else [path[:-3] for path in paths if path.endswith(".py") and "/" not in path]
    )
    public = {name for name in tops if name.isidentifier() and not name.startswith("_")}
    return sorted(public - {"tests", "test"})


def of_torch(expected: str) -> list[str]:
    """The build: that of PyPI may bring another CUDA than the recipe's."""
    torch = importlib.import_module("torch")
    cuda, rocm = torch.version.cuda, getattr(torch.version, "hip", None)
    found = f"cu{cuda.replace('.', '')}" if cuda else f"rocm{rocm}" if rocm else "cpu"
    if found == expected or (rocm and found.startswith(expected)):
        return []
    advice = f"name an index that has the {expected} build under `index`, or say `torch: {found}`"
    return [
        f"  torch is a {found} build, expected {expected}: pip's index offered another; {advice}"
    ]


def of_training() -> list[str]:
    """Two steps of a small net, each with a Hessian-vector product, on the CPU."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return []  # then the recipe does not ask for it
    torch.manual_seed(42)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    weights = list(net.parameters())
    inputs, targets = torch.randn(32, 8), torch.randint(0, 3, (32,))
    losses = []
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(net(inputs), targets)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        along = sum((gradient * gradient.detach()).sum() for gradient in gradients)
        products = torch.autograd.grad(along, weights)
        if not all(bool(torch.isfinite(product).all()) for product in products):
            return ["  a Hessian-vector product is not finite"]
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(0.1 * gradient)
    if not losses[0] > losses[1] > losses[2]:
        return [f"  two steps of training did not lower the loss: {losses}"]
    return []


def of_toolkit() -> list[str]:
    """One epoch of one run, as an attempt trains it."""
    sweep = importlib.import_module("jobs.sweep")
    run = sweep.Run(
        problem="quadratic_deep",
        optimizer="torch.optim.SGD",
        hyperparameters={"lr": 0.01},
        seed=42,
        epochs=1,
        batch_size=128,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "asked.json")  # noqa: PTH118  # as short as it gets
        with open(file, "w", encoding="utf-8") as out:  # noqa: PTH123
            json.dump(run.to_json(), out)
        command = [sys.executable, "-m", "jobs.train", file, "--out", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return []
    return [f"  one epoch of quadratic_deep: {done.stdout}{done.stderr}"]


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
