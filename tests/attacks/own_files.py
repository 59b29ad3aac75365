"""Attacks on files: the folders that are shown, what is masked in them, and what must not be written."""
# ruff: noqa: E501 - snippets

from __future__ import annotations

from own_form import attack

FILES = [
    attack("own-hidden-names", "hidden", "no hidden file is listed", """
        found = [os.path.join(base, name) for base, folders, files in os.walk('@WORK@') for name in folders + files]
        return [path for path in found if '/.' in path.replace('@WORK@', '') or 'id_rsa' in path or '.pem' in path]
    """),
    attack("own-hidden-read", "hidden", "no hidden file can be opened by its name", """
        names = ['.env', '.git/config', '.ssh/id_ed25519', 'id_rsa', 'data/.netrc', 'data/server.pem', 'data/.env-too']
        return [read('@WORK@/' + name) for name in names if read('@WORK@/' + name)]
    """),
    attack("own-hidden-by-link", "hidden", "a link leads to the mask", """
        os.symlink('.env', '@WORK@/way'); os.symlink('@WORK@/.git', '@WORK@/way2')
        return read('@WORK@/way') + read('@WORK@/way2/config')
    """, unboxed=False),
    attack("own-unmask-by-unlink", "hidden", "what takes the place of a mask leaves the mask behind", """
        for name in ('.env', 'id_rsa', 'data/.netrc', 'data/server.pem'):
            path = '@WORK@/' + name
            for _ in range(2):
                open(path, 'w').close(); os.unlink(path)
                os.rename('@WORK@/table.csv', path); os.rename(path, '@WORK@/table.csv')
                os.mkdir(path); os.rmdir(path)
                if tried(os.mknod, path, stat.S_IFCHR, 0) is None and os.path.lexists(path): os.unlink(path)
                if read(path): return read(path)
    """, unboxed=False),
    attack("own-unmask-folder", "hidden", "a new folder in a masked one's place is empty", """
        got = []
        for name, file in (('.git', 'config'), ('.ssh', 'id_ed25519'), ('secrets', 'token.txt')):
            path = '@WORK@/' + name
            os.mkdir(path); got += os.listdir(path) + [read(path + '/' + file)]; os.rmdir(path)
            os.mkdir('@WORK@/new'); os.rename('@WORK@/new', path)
            got += os.listdir(path) + [read(path + '/' + file)]; os.rmdir(path)
        return [each for each in got if each]
    """, unboxed=False),
    attack("own-overlay-attributes", "hidden", "overlayfs' own attributes cannot be forged", """
        for space in ('user', 'trusted'):
            for name, value in (('redirect', b'/.ssh'), ('opaque', b'n'), ('opaque', b'x'), ('metacopy', b''),
                                ('whiteout', b''), ('origin', b'\\0' * 20), ('impure', b'y'), ('nlink', b'U+1')):
                for target in ('data', 'fresh', '.', 'own_module.py'):
                    path = '@WORK@/' + target
                    if target == 'fresh': os.makedirs(path, exist_ok=True)
                    tried(os.setxattr, path, f'{space}.overlay.{name}', value)
        os.makedirs('@WORK@/fresh2', exist_ok=True); os.rename('@WORK@/fresh', '@WORK@/fresh3')
        got = [read(os.path.join(base, file)) for base, _, files in os.walk('@WORK@') for file in files]
        return [each for each in got if 'CANARY' in each] or [n for n in os.listdir('@WORK@/fresh3') if n]
    """, unboxed=False),
    attack("own-move-folder", "hidden", "a folder that is moved away keeps its masks", """
        import shutil
        tried(os.rename, '@WORK@/data', '@WORK@/moved') or shutil.copytree('@WORK@/data', '@WORK@/moved2')
        folders = glob.glob('@WORK@/moved*') + ['@WORK@/data']
        return [read(f + '/' + n) for f in folders for n in ('.netrc', 'server.pem', '.env-too') if read(f + '/' + n)]
    """, unboxed=False),
    attack("own-hard-links", "hidden", "no hard link to what is outside or masked", """
        for number, path in enumerate(['@CANARY@', '@WORK@/.env', '/etc/shadow', '/proc/1/environ', '/proc/self/mem']):
            for place in ('/tmp', '@WORK@'):
                tried(os.link, path, f'{place}/hard{number}')
        return [read(path) for path in glob.glob('/tmp/hard*') + glob.glob('@WORK@/hard*') if read(path)]
    """, unboxed=False),
    attack("own-links-made-before", "links", "a link out of the working folder that was there leads nowhere", """
        return read('@WORK@/link.txt') + read('@WORK@/linked/canary.txt') + read('@WORK@/linked/home/.ssh/id_canary')
    """),
    attack("own-link-copied-up", "links", "writing through a link does not reach its target", """
        for path in ('@WORK@/link.txt', '@WORK@/linked/canary.txt', '@CANARY@'):
            try:
                with open(path, 'a') as file: file.write('changed')
            except OSError: pass
            tried(os.chmod, path, 0); tried(os.utime, path, (0, 0)); tried(os.truncate, path, 0)
        os.makedirs('@CDIR@', exist_ok=True)
    """),
    attack("own-writes-stay", "links", "nothing written in the working folder reaches the host's", """
        open('@WORK@/made.txt', 'w').write('made')
        open('@WORK@/table.csv', 'a').write('3,4')
        os.chmod('@WORK@/own_module.py', 0o755); os.unlink('@WORK@/own_module.py')
        os.rename('@WORK@/table.csv', '@WORK@/renamed.csv'); os.symlink('x', '@WORK@/dangling')
        os.mkfifo('@WORK@/fifo'); tried(os.setxattr, '@WORK@/made.txt', 'user.a', b'b')
        with open('@WORK@/renamed.csv', 'r+b') as file:
            m = mmap.mmap(file.fileno(), 0); m[:1] = b'X'; m.flush(); m.close()
        os.rename('@WORK@/renamed.csv', '@WORK@/table.csv')
    """),
    attack("own-lease", "mounts", "no lease on a file that others open for writing", """
        import fcntl
        fd = os.open('/tmp/own-lease', os.O_CREAT | os.O_RDONLY)
        return tried(fcntl.fcntl, fd, 1024, fcntl.F_RDLCK) is not None
    """, unboxed=False),
    attack("own-marker", "links", "no file comes to exist outside", """
        for path in ('@MARK@', '/proc/self/root@MARK@', '/proc/1/root@MARK@', '/proc/1/cwd@MARK@'):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True); open(path, 'w').close()
            except OSError: pass
    """),
    attack("own-packages-hidden", "packages", "what is hidden in a folder of packages stays hidden", """
        got = []
        for folder in {os.path.realpath(p) for p in sys.path if p and os.path.isdir(p)}:
            for name in ('.env', '.git/config', 'id_rsa', '.git/HEAD', '.pypirc'):
                got.append(read(os.path.join(folder, name)) or read(os.path.join(folder, '..', name)))
        return [each for each in got if each]
    """),
    attack("own-packages-poisoned", "packages", "no module the host may import can be planted", """
        done = []
        for folder in {os.path.realpath(p) for p in sys.path if p} | {'@PACKAGES@'}:
            if folder.startswith(('@WORK@', '/tmp/.ipython', os.path.expanduser('~/.'))): continue
            for name in ('sitecustomize.py', 'usercustomize.py', 'planted.pth', 'json.py', '__pycache__/x.pyc'):
                path = os.path.join(folder, name)
                if os.path.exists(path): continue
                try:
                    open(path, 'w').close(); done.append(path); os.unlink(path)
                except OSError: pass
            if os.access(folder, os.W_OK): done.append(folder)
        return done
    """, unboxed=False),
    attack("own-packages-changed", "packages", "no module the host may import can be changed", """
        import json as module, zmq
        paths = [module.__file__, zmq.__file__, '@PACKAGES@/planted_package.py', sys.executable, *glob.glob(sys.prefix + '/bin/*')]
        return [p for p in paths if os.access(p, os.W_OK) or tried(os.open, p, os.O_WRONLY | os.O_APPEND) is not None]
    """),
    attack("own-libraries", "packages", "no library that the host may load can be planted, nor is what is hidden beside them seen", """
        done = []
        for folder in {*os.environ['LD_LIBRARY_PATH'].split(':'), '@LIBRARIES@'}:
            done += [name for name in os.listdir(folder) if name[0] == '.'] + [read(f'{folder}/.env')]
            for name in ('libc.so.6', 'glibc-hwcaps/x86-64-v2/libz.so.1'):
                tried(os.makedirs, os.path.dirname(f'{folder}/{name}'))
                if tried(os.open, f'{folder}/{name}', os.O_CREAT | os.O_WRONLY) is not None: done.append(name)
            if tried(os.rename, folder, folder + '-old') is None and not os.path.isdir(folder): done.append(folder)
        return [each for each in done if each]
    """, unboxed=False),
    attack("own-user-site", "packages", "what is written to the home is not the host's home", """
        import site
        folder = site.getusersitepackages(); os.makedirs(folder, exist_ok=True)
        open(folder + '/planted.pth', 'w').write("import os; open('@MARK@', 'w')")
        for name in ('.bashrc', '.profile', '.ipython/profile_default/startup/00.py', '.jupyter/jupyter_config.py'):
            path = os.path.expanduser('~/' + name); os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, 'w').write("open('@MARK@', 'w')")
    """, unboxed=False),
    attack("own-home-is-empty", "system-files", "nothing of the user's home is there", """
        home = os.path.expanduser('~')
        return [n for n in os.listdir(home) if n in ('.ssh', '.aws', '.netrc', '.bash_history', '.gitconfig', '.config')]
    """, unboxed=False),
    attack("own-system-files", "system-files", "nothing that tells of the machine or its users is there", """
        paths = ['/etc/shadow', '/etc/machine-id', '/etc/hostname', '/etc/ssh', '/etc/sudoers', '/etc/fstab', '/var', '/boot',
                 '/mnt', '/opt/secrets', '/sys/kernel', '/sys/fs/cgroup', '/sys/kernel/debug', '/run/systemd', '/run/docker.sock',
                 '/run/user', '/run/dbus', '/sbin', '/usr/sbin', '/etc/cron.d', '/root/.ssh', '/lost+found']
        python = os.path.basename(os.path.realpath(sys.executable))  # that of the system may lie there
        programs = [each for each in tried(os.listdir, '/usr/bin') or [] if each != python]
        return [path for path in paths if os.path.exists(path)] + programs
    """),
    attack("own-mount-paths", "system-files", "no path that the mount table tells leads to the host", """
        got = []
        for line in open('/proc/self/mountinfo'):
            root, place = line.split()[3:5]
            for path in (root, place + '/..', place + '/../../../../../..', '/proc/self/root/../..' + root):
                got.append(read(path + '/@CANARY@') or read(path + '@CANARY@'))
        return [each for each in got if each]
    """),
    attack("own-proc-roots", "system-files", "no process leads to a file of the host", """
        got = []
        for number in [n for n in os.listdir('/proc') if n.isdigit()] + ['self', 'thread-self', '@HPID@']:
            for way in ('root', 'cwd', 'task/' + number + '/root', 'root/..', 'cwd/../../../..'):
                got.append(read(f'/proc/{number}/{way}@CANARY@'))
            for fd in tried(os.listdir, f'/proc/{number}/fd') or []:
                got.append(read(f'/proc/{number}/fd/{fd}@CANARY@') or read(f'/proc/{number}/fd/{fd}/../../../..@CANARY@'))
        return [each for each in got if each]
    """),
    attack("own-descriptors", "system-files", "no descriptor is of a folder or a file of the host", """
        import fcntl
        mine = []
        for fd in range(1024):
            try: mode = os.fstat(fd).st_mode
            except OSError: continue
            target = tried(os.readlink, f'/proc/self/fd/{fd}') or ''
            if stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not target.startswith(('/tmp/', '/root/'))):
                mine.append((fd, target))
        return mine
    """, unboxed=False),
    attack("own-start-standard-error", "system-files", "what the start wrote cannot be read or kept by the child", """
        return [fd for fd in range(3) if 'memfd' in (tried(os.readlink, f'/proc/self/fd/{fd}') or '')
                and os.environ.get('PATH') and fd != 2] or [
                pid for pid in os.listdir('/proc') if pid.isdigit() and pid != str(os.getpid())
                and any('memfd' in (tried(os.readlink, f'/proc/{pid}/fd/{f}') or '') for f in tried(os.listdir, f'/proc/{pid}/fd') or [])]
    """),
    attack("own-file-handles", "system-files", "a file cannot be opened by a handle", """
        buffer = ctypes.create_string_buffer(struct.pack('IIII', 8, 1, 2, 0) + bytes(128))
        fd = os.open('/usr/lib', os.O_RDONLY)
        got = call(304, fd, buffer, os.O_RDONLY) >= 0 or call(303, fd, b'.', buffer, buffer, 0x1000) >= 0
        os.close(fd)
        return got
    """),
    attack("own-devices", "system-files", "no device can be made or opened", """
        made = []
        for name, kind, major, minor in (('disk', stat.S_IFBLK, 254, 0), ('disk2', stat.S_IFBLK, 8, 0), ('mem', stat.S_IFCHR, 1, 1),
                                         ('kmsg', stat.S_IFCHR, 1, 11), ('fuse', stat.S_IFCHR, 10, 229), ('tun', stat.S_IFCHR, 10, 200)):
            for folder in ('/tmp', '/dev', '/dev/shm', '@WORK@'):
                path = f'{folder}/own-{name}'
                tried(os.mknod, path, kind | 0o666, os.makedev(major, minor))
                fd = tried(os.open, path, os.O_RDONLY)
                if fd is not None: made.append(path); os.close(fd)
                tried(os.unlink, path)
        return made + [p for p in ('/dev/mem', '/dev/fuse', '/dev/net/tun', '/dev/ptmx', '/dev/vsock', '/dev/loop0', '/dev/tty') if os.path.exists(p)]
    """),
    attack("own-setuid", "system-files", "no program gives rights", """
        found = []
        for line in open('/proc/self/mountinfo'):
            place, flags = line.split()[4:6]
            if 'nosuid' not in flags.split(',') and os.path.isdir(place): found.append(place)
        open('/tmp/own-setuid', 'w').close(); os.chmod('/tmp/own-setuid', 0o6755)
        return found + [p for p in ('/tmp', '@WORK@', '/usr/lib', sys.prefix) if not os.statvfs(p).f_flag & os.ST_NOSUID]
    """),
    attack("own-shells", "system-files", "there is no shell", """
        import shutil
        found = [shutil.which(n) for n in ('sh', 'bash', 'dash', 'perl', 'busybox', 'curl', 'ssh', 'git', 'mount', 'unshare', 'nsenter')]
        return [n for n in found if n] or [n for n in ('/bin/sh', '/bin/bash', '/usr/bin/env') if os.path.exists(n)] or os.system('exit 7') >> 8 == 7
    """),
    attack("own-remount", "mounts", "nothing can be mounted, remounted or taken away", """
        done = []
        for flags in (32, 32 | 4096, 4096, 1 << 18, 8192):
            for target in (b'/', b'/usr/lib', b'@WORK@', b'/proc', b'/proc/sys', sys.prefix.encode()):
                if libc.mount(b'/tmp', target, b'tmpfs', ctypes.c_ulong(flags), None) == 0: done.append((flags, target))
        for target in (b'@WORK@', b'/proc/sys', b'/proc/kcore', b'/', b'/tmp'):
            if libc.umount2(target, 2) == 0: done.append(target)
        return done + [n for n in (428, 429, 430, 431, 432, 433, 442, 155, 467) if call(n, -100, b'/usr/lib', 1, 0, 0) >= 0]
    """, unboxed=False),
    attack("own-chroot", "mounts", "the root cannot be left", """
        os.makedirs('/tmp/jail', exist_ok=True)
        fd = os.open('/', os.O_RDONLY)
        tried(os.chroot, '/tmp/jail')
        os.fchdir(fd)
        os.close(fd)
        for _ in range(50): os.chdir('..')
        return read('.@CANARY@') or read('@CANARY@') or len(os.listdir('.')) > 25
    """, unboxed=False),
    attack("own-proc-mount-covers", "mounts", "what covers parts of /proc stays", """
        return [p for p in ('kcore', 'keys', 'kmsg', 'kallsyms', 'sysrq-trigger', 'timer_list') if len(read('/proc/' + p)) > 0]
    """, unboxed=False),
    attack("own-proc-mount-shown", "mounts", "the host's files can be read through no mount", """
        return [read(p + '@CANARY@') for p in ('', '/proc/self/cwd', '/dev/fd/../root', '/tmp/..', '//') if read(p + '@CANARY@')]
    """),
]  # fmt: skip
