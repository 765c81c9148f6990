"""Ports at which what was stopped is found again: neither the kernel nor another process gives them away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.ports import ALL, BLOCK, HERE, RAYS, Ports, blocks, free_port

KERNELS = range(32_768, 61_000)


def unlistened() -> range:
    """Three ports in a row that are free now."""
    first = free_port()
    while (second := free_port()) != first + 1 or free_port() != first + 2:
        first = second
    return range(first, first + 3)


def test_no_port_is_one_that_the_kernel_gives() -> None:
    found = list(blocks(KERNELS, os.getpid()))
    assert found
    assert not [one for one in found if {*one} & {*KERNELS} or not {*one} <= {*ALL}]
    assert len({one.start for one in found}) == len(found), "each once"
    assert not [one for one in found if {*one} & {*RAYS}]
    assert {*next(blocks(range(16_000, 65_536), 0))} <= {*ALL} & {*range(16_000)}, "a kernel that gives more"
    assert list(blocks(range(1_024, 65_536), 0)), "a kernel that gives all leaves the choice"


def test_processes_begin_to_look_at_different_blocks() -> None:
    firsts = [next(blocks(KERNELS, pid)).start for pid in range(1_000, 1_050)]
    assert len({*firsts}) == len(firsts)


def test_a_port_is_given_again_when_all_others_have_been_given_and_not_while_somebody_listens() -> None:
    mark, *others = unlistened()
    ports = Ports([range(mark, mark + 3)])
    assert [ports.next() for _ in range(4)] == others * 2
    with socket.socket() as listens:
        listens.bind((HERE, others[0]))
        assert [ports.next() for _ in range(2)] == [others[1]] * 2
    with socket.socket() as one, socket.socket() as other:
        one.bind((HERE, others[0]))
        other.bind((HERE, others[1]))
        with pytest.raises(OSError, match=rf"ports {others[0]} to {others[1]} are all listened on: end some"):
            ports.next()


def test_a_block_that_another_has_is_passed_over() -> None:
    mark = unlistened().start
    block = range(mark, mark + 2)
    Ports([block])
    with pytest.raises(OSError, match="other processes have all ports"):
        Ports([block])


def test_another_process_and_a_copy_of_this_one_have_ports_of_their_own() -> None:
    ours = {free_port() for _ in range(BLOCK)}
    command = [sys.executable, "-c", "from loadtest.ports import free_port; print(free_port())"]
    other = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=True, timeout=60)
    reads, writes = os.pipe()
    if not (copy := os.fork()):
        os.write(writes, str(free_port()).encode())
        os._exit(0)
    os.close(writes)
    with open(reads, "rb") as said:
        copied = int(said.read())
    assert os.waitpid(copy, 0)[1] == 0
    assert not {int(other.stdout), copied} & ours
    assert int(other.stdout) != copied
