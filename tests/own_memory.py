"""Source for a child kernel: `count(text, then)`, how often it has that text in its memory, and this right behind."""

COUNT = """
def count(text, then=b""):
    return sum(part.startswith(then) for each in regions() for part in each.split(text)[1:])

def regions():
    for line in open("/proc/self/maps"):
        where, rights, *_ = line.split()
        if rights.startswith("rw"):
            low, high = (int(end, 16) for end in where.split("-"))
            with open("/proc/self/mem", "rb", 0) as memory:
                pages = range(low, high, 4096)
                yield read(memory, low, high) or b"".join(read(memory, page, page + 4096) for page in pages)

def read(memory, low, high):
    try:
        memory.seek(low)
        return memory.read(high - low)
    except OSError:  # it has gone meanwhile, or there is a guard page in it: those of stacks are, since glibc 2.42
        return b""
"""
