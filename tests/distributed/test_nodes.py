"""A node dies and is replaced (R14): two network namespaces, joined by a cable, are the nodes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from training_runs import (
    EXACT,
    REPOSITORY,
    final_state,
    finish,
    in_float64,
    last_step,
    relative_distance,
    start,
    wait_for_step,
)

ADDRESSES = ("10.213.77.1", "10.213.77.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def end(node: str) -> None:
    """Kill every process of a node at once: torchrun's ranks are no children of its session."""
    processes = subprocess.run(["ip", "netns", "pids", node], check=False, capture_output=True).stdout
    for process in processes.split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


@pytest.fixture
def nodes() -> Iterator[tuple[str, str]]:
    """The names of two namespaces that reach each other at ADDRESSES, and nothing else."""
    names = (f"evax{os.getpid()}a", f"evax{os.getpid()}b")
    cables = tuple(f"ev{os.getpid() % 10**8}{end}" for end in "ab")
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip`, which makes network namespaces")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for name, cable, address in zip(names, cables, ADDRESSES, strict=True):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not permitted: {error.stderr.decode().strip()}")
    finally:
        for name in names:
            end(name)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def torchrun(nodes: tuple[str, str], number: int, words: list[str]) -> subprocess.Popen[bytes]:
    """The agent of one node with one rank; the first node holds the rendezvous."""
    return start(
        [
            *("ip", "netns", "exec", nodes[number], sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes=2", "--nproc_per_node=1", "--max-restarts=3", "--rdzv-id=evax", "--rdzv-backend=c10d"),
            *(f"--rdzv-endpoint={ADDRESSES[0]}:29400", f"--local-addr={ADDRESSES[number]}"),
            f"--rdzv-conf=is_host={int(number == 0)}",  # torchrun compares the machine's name, which is neither's
            *(str(REPOSITORY / "train.py"), *words),
        ],
        GLOO_SOCKET_IFNAME=f"ev{os.getpid() % 10**8}{'ab'[number]}",
        TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",  # else a newcomer is never told the address (docs/clusters.md)
    )


@pytest.mark.slow
def test_a_lost_node_is_replaced(nodes: tuple[str, str], run_pack: Path, one_rank: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    words = in_float64(run_pack, run_dir, devices=1)
    first, lost = (torchrun(nodes, number, words) for number in range(2))
    wait_for_step(run_dir, 5, first)
    end(nodes[1])
    lost.communicate()
    assert last_step(run_dir) < 30

    replacement = torchrun(nodes, 1, words)

    outputs = [finish(first), finish(replacement)]
    assert "going on from" in "".join(outputs)
    assert relative_distance(final_state(one_rank), final_state(run_dir)) < EXACT
