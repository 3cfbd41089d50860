"""A command ends when it is told to, whatever it waits for, with one sentence and the status that names the signal."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.every_command import environment

# What a command can wait for, `place` being a pipe that nobody writes into.
WAITS = {
    "an opening": "open(place)",
    "a sleep": "time.sleep(1000)",
    "a child": "subprocess.run([sys.executable, '-c', 'import time; time.sleep(1000)'])",
    "a server": "server = socket.create_server(('', 0)); socket.create_connection(server.getsockname()).recv(1)",
    "a thread": "pool = ThreadPoolExecutor(1); pool.submit(open, place); pool.shutdown()",
    # What is raised in there is told as a traceback and forgotten.
    "the garbage collector": "gc.callbacks.append(lambda *_: time.sleep(1)); gc.collect(); time.sleep(1000)",
    "foreign code": "mutex = (ctypes.c_char * 64)(); [ctypes.CDLL(None).pthread_mutex_lock(mutex) for _ in '12']",
}
PROGRAM = """
import ctypes, gc, signal, socket, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
import click
from facedep_jax.cli import main
from facedep_jax.cli.command import Command

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
place = sys.argv.pop(1)
def work(report):
    print("begun", flush=True)
    WAIT
main.add_command(click.command("wait", cls=Command)(work))
main()
"""


def told_to_end(program, number, *arguments):
    """Its status, and what it said, of a program that is sent a signal when it has begun."""
    begun = [
        sys.executable,
        "-c",
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + program,
    ]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*begun, *arguments], text=True, env=environment(), **pipes) as process:
        assert process.stdout.readline() == "begun\n", process.stderr.read()
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("wait", WAITS)
def test_every_wait_ends(tmp_path, wait, number):
    os.mkfifo(tmp_path / "pipe")
    status, said = told_to_end(PROGRAM.replace("WAIT", WAITS[wait]), number, str(tmp_path / "pipe"), "wait")
    assert (status, said.count("\n")) == (128 + number, 1), said
    assert said.startswith("interrupted: ") and "what was committed is safe" in said


def test_last_words_are_json_where_progress_is(tmp_path):
    program = PROGRAM.replace("WAIT", WAITS["foreign code"])
    status, said = told_to_end(program, signal.SIGTERM, "", "wait", "--progress", "json")
    assert status == 143 and json.loads(said)["event"] == "interrupted"


CHILD = """
from facedep_jax.machine_resources import end_with_parent
end_with_parent()
print(flush=True)
import time; time.sleep(1000)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(1000)
"""


def test_a_child_does_not_outlive_whoever_started_it():
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 60
    while os.path.exists(f"/proc/{child}") and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{child}")


def test_a_hangup_is_answered_while_anything_is_being_imported():
    """The handler runs between any two lines, also of a module that it would need."""
    program = (
        "import importlib.abc, os, signal, sys\n"
        "class Hangup(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.startswith('facedep_jax.cli.terminal.') or name == 'rich.console':\n"
        "            os.kill(os.getpid(), signal.SIGHUP)\n"
        "from facedep_jax.cli import main\n"
        "sys.meta_path.insert(0, Hangup())\n"
        "main(['weights', 'verify', 'nowhere'])\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), start_new_session=True)
    assert "Traceback" not in done.stderr and done.returncode in (1, 2, 128 + signal.SIGHUP), done.stderr
