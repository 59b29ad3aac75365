"""Source for a child kernel: `count(text, then)`, how often it has that text in its memory, and this right behind."""

COUNT = """
def count(text, then=b""):
    while True:
        try:
            return sum(part.startswith(then) for each in regions() for part in each.split(text)[1:])
        except OSError:  # one has gone meanwhile: begin again
            pass

def regions():
    for line in open("/proc/self/maps"):
        where, rights, *_ = line.split()
        if rights.startswith("rw"):
            low, high = (int(end, 16) for end in where.split("-"))
            with open("/proc/self/mem", "rb", 0) as memory:
                memory.seek(low)
                yield memory.read(high - low)
"""
