"""A kernel that `zygote_main` builds before it forks, as far as that needs no sockets, threads or files of a box.

After the fork it goes through the same steps as any kernel, with those left out that have been done: up to its loop
while its box is not there yet, and from there on in that. What it took from its surroundings before, it takes anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from IPython.core.application import ENV_CONFIG_DIRS, SYSTEM_CONFIG_DIRS, BaseIPythonApplication
from IPython.core.profiledir import ProfileDir
from IPython.paths import get_ipython_dir
from IPython.utils.path import get_home_dir
from tornado.ioloop import IOLoop
from traitlets import observe

if TYPE_CHECKING:
    from smol_kernel.executors.launchers.boxed_kernel import BoxedKernel
else:  # its folder is on the path while it is imported
    from boxed_kernel import BoxedKernel

NOWHERE = {"HOME": "/nonexistent", "IPYTHONDIR": "/tmp"}
"""Variables while it is built: of the user's settings none is read. The second has to be a folder, or one is made."""
SETTINGS = ("ipython_config", "ipython_kernel_config")
MADE = {"security": 0o700, "log": 0o755, "startup": 0o755, "pid": 0o700}
"""Folders of a profile, and who may enter them."""
FOLDERS = (*MADE, "static")
NOTHING = {"code": "pass", "silent": False, "store_history": False, "user_expressions": {}, "stop_on_error": False}
"""An action."""


class LateProfile(ProfileDir):
    """A profile whose folders are made later."""

    late = True

    @observe("location")
    def _location_changed(self, change: Any) -> None:
        for name in FOLDERS:
            setattr(self, f"{name}_dir", os.path.join(change["new"], getattr(self, f"{name}_dir_name")))

    def _mkdir(self, path: str, mode: int | None = None) -> bool:
        return not self.late and super()._mkdir(path, mode)

    def make(self, location: str) -> None:
        """Make them."""
        self.location = location
        for name, mode in MADE.items():
            os.makedirs(f"{location}/{name}", mode, exist_ok=True)
        self.late = False


class FoundKernel(IPythonKernel):
    """What the application takes for the kernel's class: gives the kernel that is there, with what it lacks."""

    @classmethod
    def instance(cls, *args: Any, **kwargs: Any) -> Any:
        """The kernel."""
        kernel: Any = IPythonKernel.instance()
        for name, value in kwargs.items():
            if name not in ("parent", "user_ns") and getattr(kernel, name, None) is not value:
                setattr(kernel, name, value)
        kernel.ident = str(uuid.uuid4())
        kernel._stdout, kernel._stderr = sys.stdout, sys.stderr
        shell = kernel.shell
        shell.displayhook.pub_socket = shell.display_pub.pub_socket = kernel.iopub_socket
        shell.displayhook.topic = kernel._topic("execute_result")
        return kernel


class PreparedKernel(BoxedKernel):
    """The application. Raises RuntimeError if somebody has set kernels up: that is for the box to read."""

    kernel_class = FoundKernel

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._built = False
        self.modules: set[str] = set()
        """What has been imported before the fork: to look at so many names costs a process memory of its own."""

    def build(self, options: list[str]) -> None:
        """Do what can be done now; `options` are those of the command line."""
        BaseIPythonApplication.initialize(self, options)
        if self._is_set_up():
            raise RuntimeError("there are settings for kernels")
        super().init_pdb()
        user_ns: Any = self.user_ns
        kernel: Any = IPythonKernel.instance(
            parent=self, session=self.session, log=self.log, profile_dir=self.profile_dir, user_ns=user_ns
        )
        self.shell = kernel.shell
        super().init_extensions()
        self.shell.run_cell("None", store_history=False, silent=True)
        self.shell.find_cell_magic("time")  # IPython loads them late, and an interrupt meanwhile would spoil them
        self._built = True

    def begin(self, sockets: list[int], connection: Any, connection_file: str, told: int) -> None:
        """Do what needs sockets and threads, and nothing of the box; from the pipe `told` that is told of once it
        stands."""
        type(self).sockets = sockets
        self.connection_file = connection_file
        session: Any = self.session
        session.pid, session.session = os.getpid(), str(uuid.uuid4())
        self.load_connection_info(connection)
        logging.disable(logging.INFO)  # until code of others may run: nobody reads it
        self.initialize([])
        IOLoop.current().run_sync(partial(self._set_up, told))

    async def _set_up(self, told: int) -> None:
        """Be a child of ours; and while nobody waits for it, do nothing, as an action: the first real one finds in
        memory what it needs."""
        sys.modules["smol_in_child.child"].set_up()
        waiting = select.poll()
        waiting.register(told, select.POLLIN)
        if waiting.poll(0):
            return
        kernel: Any = self.kernel
        content = {**NOTHING, "smol": {"action": 0, "shown": 0, "tools": []}}
        request = kernel.session.msg("execute_request", content)
        kernel.set_parent([b""], request)
        await kernel.execute_request(None, [b""], request)

    def go_on(self) -> None:
        """Be the kernel of this process, in its box, until it is shut down."""
        location = os.path.join(get_ipython_dir(), "profile_default")
        self.ipython_dir = os.path.dirname(location)
        self.config_file_paths.insert(0, location)
        profile: Any = self.profile_dir
        profile.make(location)
        shell: Any = self.shell
        shell.starting_dir, shell.home_dir = os.getcwd(), get_home_dir()
        shell.history_manager.dir_hist[:] = [Path.cwd()]
        shell.ipython_dir = self.ipython_dir
        shell.save_sys_module_state()
        shell.init_environment()
        super().init_path()
        shell.user_ns_hidden.update(shell.user_ns)
        shell._sys_modules_keys = self.modules
        logging.disable(logging.NOTSET)
        sys.modules["smol_in_child.child"].announce()
        IPKernelApp.start(self)

    def _is_set_up(self) -> bool:
        return any(
            os.path.exists(os.path.join(folder, name + ending))
            for folder in self.config_file_paths
            for name in SETTINGS
            for ending in (".py", ".json")
        ) or any(os.path.isdir(os.path.join(folder, "startup")) for folder in (*ENV_CONFIG_DIRS, *SYSTEM_CONFIG_DIRS))

    # steps that are shorter here

    def init_connection_file(self) -> None:
        """Nothing to do: what it says is known."""

    def init_path(self) -> None:
        """Later: what the path has before is the box's."""

    def init_code(self) -> None:
        """There is none to run first."""

    # steps that have been done

    def parse_command_line(self, argv: Any = None) -> None:
        """Before the fork."""
        if not self._built:
            super().parse_command_line(argv)

    def init_crash_handler(self) -> None:
        """Before the fork."""
        if not self._built:
            super().init_crash_handler()

    def init_profile_dir(self) -> None:
        """Before the fork; its place and its folders come later."""
        if not self._built:
            self._in_init_profile_dir = True
            self.profile_dir = LateProfile(location=f"{NOWHERE['IPYTHONDIR']}/none", config=self.config)
            self._in_init_profile_dir = False

    def init_config_files(self) -> None:
        """Before the fork."""
        if not self._built:
            super().init_config_files()

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """There is none."""

    def update_config(self, config: Any) -> None:
        """Before the fork."""
        if not self._built:
            super().update_config(config)

    def init_pdb(self) -> None:
        """Before the fork."""

    def init_extensions(self) -> None:
        """Before the fork."""


def built(options: list[str]) -> PreparedKernel | None:
    """One that is built; None if that cannot be."""
    before = {name: os.environ.get(name) for name in NOWHERE}
    os.environ.update(NOWHERE)
    with contextlib.suppress(Exception):
        kernel = PreparedKernel.instance()
        kernel.build(options)
        return kernel
    BoxedKernel.clear_instance()
    IPythonKernel.clear_instance()
    os.environ.update({name: value for name, value in before.items() if value is not None})
    return None
