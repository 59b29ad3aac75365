"""What an interrupt of the whole process group, such as ■ sends, does to programs that are being started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

HOST = """
import signal, sys
from dataclasses import replace
from threading import Thread
from smol_kernel.executors.kernel import KernelExecutor

def work():
    for number in range(8):
        executor = KernelExecutor(60, box=number % 2 == 0)
        executor.settings = executor.settings and replace(executor.settings, afresh=True)
        try:
            print(executor("6 * 7").output, flush=True)
        except Exception as error:
            print(error, flush=True)
        executor.cleanup()

signal.signal(signal.SIGINT, lambda *_: None)
print("ready", flush=True)
thread = Thread(target=work)
thread.start()
while thread.is_alive():  # signals are handled in between
    thread.join(0.1)
"""


def test_a_child_that_is_being_started_is_not_ended_by_interrupts_of_the_hosts_group():
    command, said = [sys.executable, "-c", HOST], list[bytes]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as host:
        assert host.stdout.readline() == b"ready\n"
        reader = threading.Thread(target=lambda: said.extend(host.stdout))
        reader.start()
        while reader.is_alive():
            os.killpg(host.pid, signal.SIGINT)
            reader.join(0.0003)
    assert said == [b"42\n"] * 8
