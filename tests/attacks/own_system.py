"""Attacks by system calls, on the network, and on what the kernel shows in /proc. Call numbers are those of x86-64."""
# ruff: noqa: E501 - snippets

from __future__ import annotations

from own_form import attack

SYSTEM = [
    attack("own-keyrings", "calls", "no keyrings", """
        return call(248, b'user', b'own', b'x', 1, -3) > 0 or call(250, 0, -3, 1) > 0 or call(249, b'user', b'own', b'', 0) > 0
    """),
    attack("own-io-uring", "calls", "no io_uring", "return [n for n in (425, 426, 427) if call(n, 8, ctypes.create_string_buffer(256), 0, 0) >= 0]"),
    attack("own-bpf", "calls", "no bpf, no fanotify, no tracing", """
        return [n for n in (321, 300, 298, 323, 134, 139, 163, 172, 153, 175, 246) if call(n, 0, ctypes.create_string_buffer(128), 128, 0, 0) >= 0]
    """, unboxed=False),
    attack("own-x32", "calls", "calls of the x32 kind do not exist", """
        return [n for n in (39, 101, 165, 272, 425) if call(0x40000000 + n, 0, 0, 0, 0) >= 0]
    """),
    attack("own-int80", "calls", "32-bit calls end the process", """
        if os.uname().machine != 'x86_64': return
        pid = os.fork()
        if pid == 0:
            m = mmap.mmap(-1, 4096, prot=7)
            m.write(bytes.fromhex('b814000000cd80c3'))  # getpid by int 0x80
            got = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
            os.kill(os.getpid(), signal.SIGUSR2 if got > 0 else signal.SIGKILL)
        return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGUSR2
    """),
    attack("own-unknown-calls", "calls", "calls later than those known do not exist", """
        return [n for n in (*range(463, 480), 500, 511, 512, 547, 1000) if call(n, 0, 0, 0, 0, 0, 0) != -38]
    """),
    attack("own-namespaces-clone", "calls", "no namespace by clone, whatever else is set", """
        for kind in (0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x04000000, 0x08000000, 0x02000000, 0x7E020000, 1 << 32 | 0x10000000):
            got = call(56, kind | 17, 0, 0, 0, 0)
            if got == 0: os._exit(0)
            if got > 0: return hex(kind)
    """),
    attack("own-namespaces-unshare", "calls", "no namespace by unshare or setns", """
        got = [kind for kind in (0x10000000, 0x10020000, 0x40000000, 0x80, 0x00020000) if libc.unshare(kind) == 0]
        for path in glob.glob('/proc/*/ns/*'):
            fd = tried(os.open, path, os.O_RDONLY)
            if fd is not None:
                if call(308, fd, 0) == 0: got.append(path)
                os.close(fd)
        fd = call(434, 1, 0)
        return got or (fd >= 0 and call(308, fd, 0x7E020000) == 0)
    """, unboxed=False),
    attack("own-rights", "rights", "no user id, group or capability can be taken", """
        got = [n for f in (os.setuid, os.setgid, os.seteuid, os.setegid) for n in (0, 65534) if n not in os.getresuid() and tried(f, n) is None and n in os.getresuid()]
        if os.geteuid() == 0 or len(os.getgroups()) > 1: got.append('root')
        data = ctypes.create_string_buffer(struct.pack('6I', *[0xFFFFFFFF] * 6))
        if libc.capset(struct.pack('Ii', 0x20080522, 0), data) == 0: got.append('capset')
        if libc.prctl(47, 2, 21, 0, 0) == 0: got.append('ambient')
        return got
    """, unboxed=False),
    attack("own-status", "rights", "no capability, no new privileges, a filter for calls", """
        status = dict(line.split(':', 1) for line in open('/proc/self/status'))
        got = [n for n in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb') if int(status[n], 16)]
        return got + [n for n, value in (('NoNewPrivs', '1'), ('Seccomp', '2')) if status[n].strip() != value]
    """),
    attack("own-maps", "rights", "the map of users cannot be changed", """
        got = []
        for pid in ('self', '1'):
            for name, text in (('uid_map', '0 0 1'), ('gid_map', '0 0 1'), ('setgroups', 'allow')):
                try:
                    open(f'/proc/{pid}/{name}', 'w').write(text); got.append(name)
                except OSError: pass
        return [n for n in got if os.getuid() == 0 or read('/proc/self/uid_map').split()[:1] == ['0']]
    """),
    attack("own-realtime", "rights", "no priority over the host", """
        got = []
        if tried(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50)) is None and os.sched_getscheduler(0) == os.SCHED_FIFO: got.append('fifo')
        before = os.getpriority(os.PRIO_PROCESS, 0)
        tried(os.setpriority, os.PRIO_PROCESS, 0, -20)
        if os.getpriority(os.PRIO_PROCESS, 0) < before: got.append('nice')
        if call(251, 1, 0, 1 << 13) == 0: got.append('io')
        return got
    """, unboxed=False),
    attack("own-limits-raised", "rights", "limits cannot be raised", """
        import resource
        got = []
        for name in ('RLIMIT_NPROC', 'RLIMIT_DATA', 'RLIMIT_NOFILE', 'RLIMIT_FSIZE', 'RLIMIT_AS', 'RLIMIT_CORE'):
            number = getattr(resource, name); soft, hard = resource.getrlimit(number)
            if hard == resource.RLIM_INFINITY: got.append(name); continue
            for pid in (0, 1):
                try: resource.prlimit(pid, number, (hard, hard + 1)); got.append((pid, name))
                except (OSError, ValueError): pass
        return got
    """, unboxed=False),
    attack("own-sockets", "sockets", "no sockets but unix and internet ones, whatever the upper bits are", """
        got = []
        for family in [*range(3, 10), *range(11, 46), 1 << 32 | 17, 1 << 32 | 40, 0xFFFFFFFF]:
            for kind in (1, 2, 3, 5):
                for protocol in ((4, 9, 12, 15, 16, 21) if family == 16 else (0, 1, 3)):
                    fd = call(41, family, kind, protocol)
                    if fd >= 0: got.append((family, kind, protocol)); os.close(fd)
                    pair = ctypes.create_string_buffer(8)
                    if family != 1 and call(53, family, kind, protocol, pair) >= 0: got.append(('pair', family, kind))
        return got
    """, unboxed=False),
    attack("own-socket-pairs", "sockets", "no pair of sockets but unix ones, whatever the system knows", """
        pair = ctypes.create_string_buffer(8)
        families = [*range(2, 46), 0, 1 << 32 | 2, 1 << 32 | 30, 0xFFFFFFFF]
        return [(f, kind) for f in families for kind in (1, 2, 3, 4, 5, 1 | 0o2000000) if call(53, f, kind, 0, pair) != -97]  # EAFNOSUPPORT
    """, unboxed=False),
    attack("own-raw-packets", "sockets", "no raw packets", """
        got = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for protocol in (1, 6, 58, 255):
                s = tried(socket.socket, family, socket.SOCK_RAW, protocol)
                if s: got.append((family, protocol)); s.close()
        return got
    """),
    attack("own-loopback", "sockets", "the host's loopback is not the box's", """
        for kind, family, host, port in ((socket.SOCK_STREAM, socket.AF_INET, '127.0.0.1', @PORT@), (socket.SOCK_DGRAM, socket.AF_INET, '127.0.0.1', @PORT@),
                (socket.SOCK_STREAM, socket.AF_INET6, '::1', @PORT6@), (socket.SOCK_STREAM, socket.AF_INET, '0.0.0.0', @PORT@),
                (socket.SOCK_STREAM, socket.AF_INET, '127.255.0.1', @PORT@), (socket.SOCK_STREAM, socket.AF_INET6, '::ffff:127.0.0.1', @PORT@)):
            s = socket.socket(family, kind); s.settimeout(1)
            try: s.connect((host, port)); s.send(b'x')
            except OSError: pass
            s.close()
    """),
    attack("own-ways-out", "sockets", "no address outside has a route", """
        got = []
        for host in ('169.254.169.254', '10.0.0.1', '10.255.255.53', '192.168.0.1', '172.17.0.1', '8.8.8.8', '255.255.255.255', '224.0.0.1', '2001:4860:4860::8888', 'fe80::1%lo', 'ff02::1%lo'):
            s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            try: s.connect(socket.getaddrinfo(host, 53, s.family, socket.SOCK_DGRAM)[0][4]); got.append(host + ' from ' + s.getsockname()[0])
            except OSError: pass
            s.close()
        return [each for each in got if not each.endswith((' ::1', ' 127.0.0.1'))]
    """),
    attack("own-names", "sockets", "no name is resolved", """
        got = []
        for name in ('example.org', 'localhost.localdomain', '_gateway', 'host.docker.internal'):
            try: got += [each[4][0] for each in socket.getaddrinfo(name, 80)]
            except OSError: pass
        return [each for each in got if not each.startswith(('127.', '::1'))]
    """, unboxed=False),
    attack("own-interfaces", "sockets", "no interface can be made, no route set", """
        import fcntl
        s = socket.socket(16, 3, 0); s.settimeout(1)
        got = []
        for kind, body in ((16, struct.pack('BxHiII', 0, 0, 0, 0, 0) + struct.pack('HH8s', 12, 3, b'own0')),  # RTM_NEWLINK
                           (20, struct.pack('BBBBI', 2, 8, 0, 0, 1) + struct.pack('HH4s', 8, 2, bytes([10, 9, 9, 9]))),  # RTM_NEWADDR
                           (24, struct.pack('8BI', 2, 0, 0, 0, 254, 3, 0, 1, 0))):  # RTM_NEWROUTE
            s.send(struct.pack('IHHII', 16 + len(body), kind, 0x605, 1, 0) + body)
            answer = s.recv(4096)
            if struct.unpack_from('i', answer, 16)[0] == 0: got.append(kind)
        i = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for request in (0x8914, 0x8916, 0x8924, 0x89A0):
            try: fcntl.ioctl(i, request, struct.pack('16sh22x', b'lo', 0x1 | 0x100)); got.append(hex(request))
            except OSError: pass
        return got
    """, unboxed=False),
    attack("own-unix-sockets", "sockets", "no unix socket of the host can be reached", """
        for address in ('@UNIX@', '@WORKUNIX@', '\\0@ABS@', '/proc/self/root@UNIX@', '/proc/1/root@UNIX@', '/run/docker.sock', '/run/dbus/system_bus_socket'):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                s = socket.socket(socket.AF_UNIX, kind)
                try: s.connect(address)
                except OSError: pass
                s.close()
        os.chdir('@WORK@'); s = socket.socket(socket.AF_UNIX)
        tried(s.connect, 'server.sock'); s.close()
    """),
    attack("own-kernel-sockets", "sockets", "the sockets of the kernel accept nobody else, and lead to no path", """
        got = []
        for line in open('/proc/net/unix').read().splitlines()[1:]:
            path = line.split()[7:] and line.split()[7]
            if path:
                s = socket.socket(socket.AF_UNIX); s.settimeout(1)
                try: s.connect(path.replace('@', chr(0))); got.append(path)
                except OSError: pass
                s.close()
        return got
    """, unboxed=False),
    attack("own-connection-file", "sockets", "the box's own connection file leads nowhere else", """
        where = json.loads(read('/run/kernel.json') or '{}')
        return [p for p in glob.glob(where.get('ip', '/x') + '*') + glob.glob('/run/*') + glob.glob('/tmp/smol-*') if p != '/run/kernel.json']
    """),
    attack("own-live-kernel", "jupyter", "another kernel that runs cannot be made to do anything", """
        from jupyter_client import BlockingKernelClient
        for file in glob.glob('@JRT@/*.json') + glob.glob(os.path.expanduser('~/.local/share/jupyter/runtime/*.json')):
            client = BlockingKernelClient(connection_file=file); client.load_connection_file(); client.start_channels()
            client.execute("open('@MARK@', 'w').close()", reply=True, timeout=10); client.stop_channels()
            return file
    """),
    attack("own-settings", "kernel", "no setting of the kernel can be written", """
        got = []
        for base, _, files in os.walk('/proc/sys'):
            for name in files:
                fd = tried(os.open, os.path.join(base, name), os.O_WRONLY)
                if fd is not None: got.append(os.path.join(base, name)); os.close(fd)
        for path in ('/proc/sysrq-trigger', '/proc/self/root/proc/sys/kernel/core_pattern', '/proc/irq/default_smp_affinity', '/proc/acpi/wakeup', '/proc/mtrr'):
            fd = tried(os.open, path, os.O_WRONLY)
            if fd is not None and not read('/proc/self/mountinfo').count(' ' + path + ' '): got.append(path)
        return got[:10]
    """, unboxed=False),
    attack("own-core-dump", "kernel", "no core is dumped", """
        import resource
        tried(resource.setrlimit, resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        pid = os.fork()
        if pid == 0: os.kill(os.getpid(), signal.SIGABRT)
        return os.WCOREDUMP(os.waitpid(pid, 0)[1]) or glob.glob('@WORK@/core*') or glob.glob('/tmp/core*')
    """, unboxed=False),
    attack("own-kernel-memory", "kernel", "the kernel's memory, log and symbols cannot be read", """
        got = [p for p in ('/proc/kcore', '/proc/kmsg', '/proc/kallsyms', '/proc/iomem', '/proc/vmallocinfo', '/proc/slabinfo', '/dev/mem') if len(read(p).strip('0 ')) > 0 and 'ffff' in read(p)]
        buffer = ctypes.create_string_buffer(4096)
        return got + [kind for kind in (3, 10, 9) if call(103, kind, buffer, 4096) > 0]
    """, unboxed=False),
    attack("own-environment", "kernel", "no process in sight has the host's environment", """
        got = []
        for number in [n for n in os.listdir('/proc') if n.isdigit()]:
            for name in ('environ', 'cmdline', 'maps', 'auxv'):
                text = read(f'/proc/{number}/{name}')
                if 'CANARY-' in text or '@ENV@' in text: got.append(text)
        return got
    """),
    attack("own-memory-for-secrets", "kernel", "the host's secrets are not in memory", """
        import re
        mark = re.compile(rb'@ENV@=CANARY-?[0-9a-f]{5}|@ENV@=CANARY-env[0-9]'); got = []
        for pid in ('self', '1'):
            try:
                maps = open(f'/proc/{pid}/maps').read().splitlines(); memory = open(f'/proc/{pid}/mem', 'rb')
            except OSError: continue
            for line in maps:
                start, end = (int(x, 16) for x in line.split()[0].split('-'))
                if ' r' not in line or end - start > 1 << 28 or 'lib' in line: continue
                try: memory.seek(start); data = memory.read(end - start)
                except (OSError, ValueError, OverflowError): continue
                if mark.search(data): got.append(line)
        return got
    """),
    attack("own-terminal", "kernel", "nothing can be typed into a terminal", """
        import fcntl
        got = []
        for fd in [*range(64), tried(os.open, '/dev/tty', os.O_RDWR), tried(os.open, '/dev/ptmx', os.O_RDWR)]:
            if fd is None: continue
            for request in (0x5412, 1 << 32 | 0x5412, 0x541C):
                if call(16, fd, request, b'x') == 0: got.append((fd, request))
        return got or os.path.exists('/dev/ptmx') or os.path.exists('/dev/tty')
    """, unboxed=False),
]  # fmt: skip
