"""Attacks by processes: signals, what is to outlive a shutdown, what uses things up; and on another child of the host."""
# ruff: noqa: E501 - snippets

from __future__ import annotations

from own_form import attack

PROCESSES = [
    attack("own-first-memory", "ptrace", "the first process of the box cannot be looked into", """
        got = [n for n in ('mem', 'environ', 'maps', 'syscall', 'stack') if len(read(f'/proc/1/{n}')) > 0]
        for name in ('fd', 'map_files', 'task/1/fd'):
            got += tried(os.listdir, f'/proc/1/{name}') or []
        fd = tried(os.open, '/proc/1/mem', os.O_RDWR)
        return got or fd
    """),
    attack("own-first-traced", "ptrace", "the first process of the box cannot be traced or robbed", """
        got = [request for request in (16, 0x4206) if call(101, request, 1, 0, 0) == 0]
        pidfd = call(434, 1, 0)
        if pidfd >= 0: got += [fd for fd in range(32) if call(438, pidfd, fd, 0) >= 0]
        buffer = ctypes.create_string_buffer(64)
        for number in (310, 311):
            if call(number, 1, struct.pack('PQ', ctypes.addressof(buffer), 64), 1, struct.pack('PQ', 0x400000, 64), 1, 0) > 0: got.append(number)
        return got or call(312, os.getpid(), 1, 0, 0, 0) >= 0
    """, unboxed=False),
    attack("own-child-traced", "ptrace", "no tracing at all, not even of an own child", """
        pid = os.fork()
        if pid == 0: time.sleep(5); os._exit(0)
        got = call(101, 16, pid, 0, 0) == 0
        os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
        return got
    """),
    attack("own-kill-host", "signals", "no signal reaches a process of the host", """
        got = []
        for pid in (@HPID@, -@HPID@):
            for number in (0, signal.SIGUSR1, signal.SIGSTOP):
                if tried(lambda: (os.kill(pid, number), True)[1]): got.append((pid, number))
        fd = call(434, @HPID@, 0)
        return got or (fd >= 0 and call(424, fd, 0, 0, 0) == 0)
    """, unboxed=False),
    attack("own-owner", "signals", "no signal by way of a descriptor", """
        import fcntl
        here, there = os.pipe()
        for fd in [here, *range(3, 64)]:
            try:
                fcntl.fcntl(fd, fcntl.F_SETOWN, @HPID@); fcntl.fcntl(fd, 10, signal.SIGUSR1)
                fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
            except OSError: pass
        os.write(there, b'x')
    """, unboxed=False),
    attack("own-kill-all", "survivors", "killing everything ends the box alone", """
        if os.getpid() > 50: raise SystemExit
        os.kill(-1, signal.SIGKILL)
    """),
    attack("own-stop-itself", "survivors", "a child that has stopped is noticed, and ended", "os.kill(os.getpid(), signal.SIGSTOP)"),
    attack("own-stop-all", "survivors", "stopping everything ends with the box", """
        if os.getpid() > 50: raise SystemExit
        for _ in range(20):
            if os.fork() == 0:
                while True: time.sleep(1)
        os.kill(-1, signal.SIGSTOP); os.kill(os.getpid(), signal.SIGSTOP)
    """),
    attack("own-signals-ignored", "survivors", "what ignores and blocks all signals ends with the box", """
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                for number in range(1, 65): tried(signal.signal, number, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
                call(157, 1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG: none
                for fd in range(3, 64): tried(os.close, fd)
                while True: time.sleep(1)
    """),
    attack("own-fork-bomb", "survivors", "a fork bomb is bounded, and ends with the box", """
        if os.getpid() > 50: raise SystemExit
        def bomb():
            while True:
                try:
                    if os.fork() == 0: tried(os.setsid); continue
                except OSError: time.sleep(0.01)
        if os.fork() == 0: bomb()
        time.sleep(1)
    """),
    attack("own-never-ending-exit", "survivors", "what runs at exit does not hold up the end", """
        import atexit
        def on():
            while True: pass
        atexit.register(on); threading._register_atexit(on) if hasattr(threading, '_register_atexit') else None
        for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, lambda *_: on())
        threading.Thread(target=on).start()
    """),
    attack("own-exit-with-heirs", "survivors", "the box ends with its kernel, whoever holds its sockets", """
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                while True: time.sleep(1)
        libc._exit(0)
    """),
    attack("own-crash", "survivors", "a crash is told as one", "ctypes.string_at(0)"),
    attack("own-home-shut", "survivors", "what a child does to its folders is not there for the next", """
        for path in (os.path.expanduser('~'), '/tmp', '@WORK@', '/dev/shm'): tried(os.chmod, path, 0)
        for path in ('/tmp', os.path.expanduser('~')):
            for name in tried(os.listdir, path) or []: tried(os.rename, path + '/' + name, path + '/x')
    """),
    attack("own-builtins", "survivors", "a child that has poisoned itself fools itself alone", """
        import builtins
        for name in ('print', 'open', 'len', 'isinstance', 'echo', 'final_answer', 'dict', 'str', '__import__'):
            setattr(builtins, name, lambda *_, **__: 'FORGED')
    """),
    attack("own-memory", "resources", "memory is bounded in each process", """
        held = []
        try:
            while len(held) < 64: held.append(bytearray(1 << 26))
        except MemoryError:
            n = len(held); held.clear()
            return n >= 20
        return len(held)
    """),
    attack("own-memory-that-no-limit-counts", "resources", "no memory outside the limits of processes and files", """
        got = [call(number, *arguments) for number, *arguments in
               {'x86_64': [(319, b'x', 0), (29, 0, 1 << 30, 0o1600), (64, 0, 32000, 0o1600), (68, 0, 0o1600), (206, 9, bytes(8))],
                'aarch64': [(279, b'x', 0), (194, 0, 1 << 30, 0o1600), (190, 0, 32000, 0o1600), (186, 0, 0o1600)]}[os.uname().machine]]
        return [each for each in got if each >= 0] or read('/proc/self/oom_score_adj').strip() != '1000'
    """),
    attack("own-last-to-be-ended", "resources", "no process makes itself one that is ended last where memory is short", """
        for path in ('/proc/self/oom_score_adj', f'/proc/{os.getpid()}/oom_score_adj', '/proc/self/task/1/oom_score_adj', '/proc/self/oom_adj'):
            tried(lambda: open(path, 'w').write('0'))
        return read('/proc/self/oom_score_adj').strip() != '1000'
    """, unboxed=False),
    attack("own-watches", "resources", "of what a user may have in all the user's other programs have most", """
        made = []; seen = 0
        while len(made) < 1000 and (each := libc.inotify_init()) >= 0: made.append(each)
        for number in range(10_000):
            os.close(os.open(f'/tmp/own-seen-{number}', os.O_CREAT))
            if libc.inotify_add_watch(made[0], f'/tmp/own-seen-{number}'.encode(), 2) < 0: break
            seen += 1
        return int(read('/proc/self/uid_map').split()[1]) < 1 << 30 and (len(made) > 40 or seen > 9_000)  # else it is a user that nobody else is
    """, unboxed=False),
    attack("own-signals", "resources", "of signals that wait, and of queues, the user's other programs have most", """
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 1]); sent = 0
        value = ctypes.c_void_p(0)
        while sent < 3_000 and libc.sigqueue(os.getpid(), signal.SIGRTMIN + 1, value) == 0: sent += 1
        return int(read('/proc/self/uid_map').split()[1]) < 1 << 30 and sent > 2_000
    """, unboxed=False),
    attack("own-buffers", "resources", "no socket holds more than the system gives it by itself", """
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        before = pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF, 32, 33):
            tried(pair[0].setsockopt, socket.SOL_SOCKET, option, 2 * before)
        return pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before
    """),
    attack("own-threads", "resources", "threads are bounded", """
        over = threading.Event(); made = []
        try:
            for _ in range(1000):
                t = threading.Thread(target=over.wait); t.start(); made.append(t)
        except (RuntimeError, MemoryError): pass
        over.set()
        return len(made) > 300
    """),
    attack("own-descriptors-used-up", "resources", "open files are bounded, and the child goes on", """
        made = []
        try:
            while len(made) < 5000: made.append(os.open('/dev/null', os.O_RDONLY))
        except OSError: pass
        for fd in made: os.close(fd)
        return len(made) > 1100
    """),
    attack("own-disk", "resources", "all that is written is bounded together", """
        written = 0; buffer = bytes(1 << 20)
        for folder in ('@WORK@', '/tmp', '/dev/shm', os.path.expanduser('~')):
            for number in range(100):
                try:
                    with open(f'{folder}/own-{number}', 'wb') as file:
                        for _ in range(32): file.write(buffer); file.flush(); written += 1
                except OSError: break
        return written > 140 and written
    """),
    attack("own-root-disk", "resources", "nothing can be written but in the folders for it", """
        got = []
        for base in ('/', '/run', '/etc', '/dev', '/usr', '/proc', '/lib', '/usr/lib', '/etc/ssl', os.path.dirname(json.__file__)):
            try: open(base + '/own-file', 'w').close(); got.append(base)
            except OSError: pass
        return got
    """),
    attack("own-deep-folders", "resources", "folders as deep as can be hold nobody up", """
        os.chdir('@WORK@')
        try:
            for _ in range(3000): os.mkdir('d' * 200); os.chdir('d' * 200)
        except OSError: pass
        os.chdir('/tmp')
    """),
    attack("own-odd-names", "resources", "names that are no text hold nobody up", """
        for name in (b'\\xff\\xfe', b'a\\nb', b'\\x1b[2J', b'x' * 255, 'äöü\\u202e'.encode(), b'$(touch @MARK@)', b'-rf', b'%s%n'):
            tried(lambda: open(b'@WORK@/' + name, 'w').close()); tried(os.mkdir, b'@WORK@/d' + name[:200])
    """),
    attack("own-sparse-files", "resources", "files of a size that is not there are bounded", """
        got = []
        for path in ('@WORK@/sparse', '/tmp/sparse', '/dev/shm/sparse'):
            with open(path, 'wb') as file:
                try: os.ftruncate(file.fileno(), 1 << 40); got.append(path)
                except OSError: pass
        return got
    """),
    attack("own-pipes-and-sockets", "resources", "buffers of pipes and sockets are bounded by the open files", """
        held = []; total = 0
        try:
            while True:
                a, b = socket.socketpair(); held += [a, b]; a.setblocking(False)
                while True:
                    try: total += a.send(bytes(65536))
                    except BlockingIOError: break
        except OSError: pass
        return total > 1 << 30
    """),
    attack("own-timers", "resources", "timers and queues are bounded", """
        made = 0
        for _ in range(50000):
            timer = ctypes.c_int()
            if call(222, 0, 0, ctypes.byref(timer) if False else ctypes.addressof(timer)) < 0: break
            made += 1
        return made >= 50000 and False
    """),
    attack("own-numbers", "resources", "a computation in C that heeds nothing is ended", "return (7 ** 10 ** 8) and False"),
    attack("own-interrupts-blocked", "resources", "a child that blocks all signals is ended", """
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True: pass
    """),
    attack("own-interrupts-swallowed", "resources", "a child that waits in a lock is ended", """
        lock = threading.Lock(); lock.acquire()
        while True:
            try: lock.acquire()
            except BaseException: pass
    """),
    attack("own-priority", "resources", "a child that uses all processors is ended", """
        for _ in range(8):
            if os.fork() == 0:
                while True: pass
        while True: pass
    """),
    attack("own-other-files", "siblings", "no file of another child can be seen", """
        got = []
        for folder in ('/tmp', '/dev/shm', '@WORK@', os.path.expanduser('~')):
            for name in tried(os.listdir, folder) or []:
                if name.startswith('victim'): got.append(read(folder + '/' + name))
        return [each for each in got if each]
    """),
    attack("own-other-process", "siblings", "no process of another child can be seen", """
        mark = 'VICTIM' + '_SECRET'
        return [n for n in os.listdir('/proc') if n.isdigit() and mark in read(f'/proc/{n}/environ') + read(f'/proc/{n}/cmdline')]
    """),
    attack("own-other-sockets", "siblings", "no socket of another child can be reached", """
        got = []
        for family, address in ((socket.AF_UNIX, '\\0victim-@ABS@'), (socket.AF_UNIX, '/tmp/victim.sock'), (socket.AF_INET, ('127.0.0.1', @VPORT@))):
            s = socket.socket(family); s.settimeout(1)
            try: s.connect(address); got.append(s.recv(100).decode())
            except OSError: pass
            s.close()
        return got
    """),
    attack("own-other-memory", "siblings", "no shared memory of another child can be reached", """
        from multiprocessing import shared_memory
        got = []
        try:
            m = shared_memory.SharedMemory('victim-memory'); got.append(bytes(m.buf[:40])); m.close()
        except OSError: pass
        n = call(29, 4711, 0, 0)
        if n >= 0:
            libc.shmat.restype = ctypes.c_void_p; got.append(ctypes.string_at(libc.shmat(n, None, 0), 40))
        return got
    """),
    attack("own-other-killed", "siblings", "no signal reaches another child", """
        for number in (signal.SIGUSR1, signal.SIGINT):
            for pid in {@VPID@, *range(1, 40)} if os.getpid() < 50 else {@VPID@}:
                if pid not in (1, os.getpid()): tried(os.kill, pid, number)
        mine = os.getpgrp()
        return mine != os.getpid() and False
    """),
]  # fmt: skip
