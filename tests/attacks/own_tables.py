"""Attacks by way of the memory that a table came in, see `judge.KEEP`: `table_fds` are the descriptors of it."""
# ruff: noqa: E501 - snippets

from __future__ import annotations

from own_form import attack

TABLES = [
    attack("own-table-written", "siblings", "the memory of a table cannot be written to", """
        got = []
        for fd in table_fds:
            size, before = os.fstat(fd).st_size, os.pread(fd, 64, 0)
            tried(os.fchmod, fd, 0o777)
            for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
                again = tried(os.open, f'/proc/self/fd/{fd}', flags)
                for each in (fd, again) if again is not None else (fd,):
                    if tried(os.pwrite, each, b'X' * 8, 0): got.append('pwrite')
                    if tried(os.write, each, b'X' * 8): got.append('write')
                    if call(77, each, 8) == 0: got.append('ftruncate')
                    if call(285, each, 3, 0, 4096) == 0: got.append('punched')
                    if tried(os.copy_file_range, fd, each, 8, 8, 0): got.append('copied')
                    if tried(os.sendfile, each, fd, 0, 8): got.append('sent')
                    for prot in (mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE):
                        if tried(lambda: mmap.mmap(each, size, flags=mmap.MAP_SHARED, prot=prot)): got.append('mapped')
                if again is not None: os.close(again)
            if os.pread(fd, 64, 0) != before or os.fstat(fd).st_size != size: got.append('changed')
        return got or not table_fds
    """, unboxed=False),
    attack("own-table-protected", "siblings", "a map of a table's memory cannot be made writable", """
        got = []
        libc.mmap.restype = ctypes.c_void_p
        for fd in table_fds:
            size, before = os.fstat(fd).st_size, os.pread(fd, 64, 0)
            at = libc.mmap(None, ctypes.c_size_t(size), 1, 1, fd, ctypes.c_long(0))
            if at is None or at == 2**64 - 1: continue
            if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(size), 3) == 0: got.append('mprotect')
            memory = os.open('/proc/self/mem', os.O_RDWR)
            if tried(os.pwrite, memory, b'X' * 8, at): got.append('mem')
            os.close(memory)
            libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(size), 9)
            if os.pread(fd, 64, 0) != before: got.append('changed')
        return got or not table_fds
    """, unboxed=False),
    attack("own-table-seals", "siblings", "seals of a table's memory cannot be changed, and nobody can be kept from it", """
        import fcntl
        got = []
        for fd in table_fds:
            seals = fcntl.fcntl(fd, 1034)
            if seals & 15 != 15: got.append(seals)
            for n in range(64):
                if tried(fcntl.fcntl, fd, 1033, n) is not None and n & ~seals: got.append(('seal', n))
            for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
                tried(fcntl.fcntl, fd, fcntl.F_SETLEASE, kind)  # who opens it then may have to wait
            tried(os.fchmod, fd, 0)
            tried(os.fchown, fd, os.getuid(), os.getgid())
        return got or not table_fds
    """, unboxed=False),
    attack("own-table-line", "siblings", "nothing goes up the line by which tables come", """
        import array
        from IPython import get_ipython
        line = socket.socket(fileno=os.dup(get_ipython().kernel.parent.memory_line))
        got = [line.type] if line.type != socket.SOCK_SEQPACKET else []
        file = os.open('/etc/passwd', os.O_RDONLY)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))]
        for send in (lambda: line.send(b'x'), lambda: line.sendmsg([b'x'], rights), lambda: line.send(b'x', socket.MSG_OOB),
                     lambda: os.write(line.fileno(), b'x'), lambda: os.sendfile(line.fileno(), file, 0, 8)):
            if tried(send): got.append('sent')
        os.close(file)
        for option in range(1, 90):  # passing credentials, and whatever comes with messages
            tried(line.setsockopt, socket.SOL_SOCKET, option, 1)
        for number in (signal.SIGUSR1, signal.SIGKILL):
            for option in (77, 17):
                peer = tried(line.getsockopt, socket.SOL_SOCKET, option)
                if option == 77 and peer and call(424, peer, 0, 0, 0) == 0: got.append('signalled')
                if option == 77 and peer: os.close(peer)
        if tried(line.sendto, b'x', ''): got.append('sent to')
        line.close()
        return got
    """, unboxed=False),
]  # fmt: skip
