"""Attacks of a child on what it comes from: the zygote that forked it, and the children that wait beside it."""
# ruff: noqa: E501 - snippets

from __future__ import annotations

from own_form import attack

ZYGOTE = [
    attack("own-elder-process", "siblings", "no zygote and no waiting child can be seen, signalled or read", """
        got = []
        for pid in [@ELDERS@]:
            for number in (0, signal.SIGSTOP, signal.SIGKILL):
                try: os.kill(pid, number); got.append((pid, number))
                except OSError: pass
            got += [(pid, name) for name in ('environ', 'cmdline', 'maps', 'mem', 'fd/0', 'ns/user') if read(f'/proc/{pid}/{name}') or os.path.lexists(f'/proc/{pid}/{name}')]
            page = ctypes.create_string_buffer(64); vector = (ctypes.c_void_p * 2)(ctypes.addressof(page), 64)
            for number, words in ((101, (16, pid, 0, 0)), (310, (pid, vector, 1, vector, 1, 0)), (434, (pid, 0))):
                if call(number, *words) >= 0: got.append((pid, number))
        return got
    """, unboxed=False),
    attack("own-elder-line", "siblings", "no descriptor leads to a zygote: none takes an order to fork", """
        import array
        got = []
        for number in range(3, 300):
            try: line = socket.socket(fileno=os.dup(number))
            except OSError: continue
            line.settimeout(0.2); read_end, write_end = os.pipe()
            given = array.array('i', [read_end, number, write_end, 2, write_end])
            wish = {'ids': [0, 0], 'network': 'full', 'seccomp': '', 'connection': {}, 'arguments': ['-f', '/x'], 'bubblewrap': None}
            try:
                line.sendmsg([json.dumps(wish).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
                answer = line.recv(32)
                if answer.isdigit(): got.append(answer)
            except OSError: pass
            line.close()
        return got
    """, unboxed=False),
    attack("own-elder-memory", "siblings", "the memory that comes from a zygote holds no secret of the host's, nor of another child's", """
        import re
        found, mark = set(), ('CAN' + 'ARY-').encode()
        mine = mark + b'0' * 24  # shows that the search finds something
        with open('/proc/self/maps') as lines, open('/proc/self/mem', 'rb', 0) as memory:
            for line in lines.readlines():
                begin, end = (int(each, 16) for each in line.split()[0].split('-'))
                if line.split()[1][0] != 'r' or '[v' in line: continue
                for at in range(begin, min(end, begin + (256 << 20)), 1 << 20):
                    try: memory.seek(at); part = memory.read(min(1 << 20, end - at))
                    except (OSError, ValueError, OverflowError): break
                    found.update(re.findall(re.escape(mark) + rb'[0-9a-f]{24}', part))
        return sorted(found - {mine}) if mine in found else ['the search does not work']
    """, unboxed=False),
]  # fmt: skip
