"""Source for a child kernel: `count(text, then)`, how often it has that text in its memory, and this right behind."""

COUNT = """
def count(text, then=b""):
    found = 0
    for line in open("/proc/self/maps"):
        where, rights, *_ = line.split()
        if rights.startswith("rw"):
            low, high = (int(end, 16) for end in where.split("-"))
            with open("/proc/self/mem", "rb", 0) as memory:
                memory.seek(low)
                found += sum(part.startswith(then) for part in memory.read(high - low).split(text)[1:])
    return found
"""
