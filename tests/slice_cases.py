"""Scripts for the slicer. A case begins with `## name`; `---` stands between steps, `===` before what is left."""

from __future__ import annotations

DROPPING = r"""
## a value shown
xs = [3, 1, 2]
---
print(len(xs))
xs
---
final_answer(sum(xs))
===
xs = [3, 1, 2]
sum(xs)
## a list nobody uses
xs = [3, 1, 2]
ys = [x * 2 for x in xs]
print(ys)
---
final_answer(xs)
===
xs = [3, 1, 2]
xs
## an import
import math
import json
r = 2
---
final_answer(math.pi * r)
===
import math
r = 2
math.pi * r
## looks at a table
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
---
print(df.head())
df.describe()
---
print(df.isna().sum())
df.info()
---
final_answer(df)
===
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
df
## a value nobody uses
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
---
m = df.groupby("k")["v"].mean()
print(m)
n = df["v"].sum()
---
print(n)
final_answer(float(n))
===
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
n = df["v"].sum()
float(n)
## a name bound before
x = 1
---
x = 2
y = x
---
final_answer(y)
===
x = 2
y = x
y
## a loop that prints
for i in range(3):
    print(i)
---
i = 5
---
final_answer(i)
===
i = 5
i
## a function
def f(n):
    return n

def g(n):
    return n + 1
---
print(f(1))
---
final_answer(g(1))
===
def g(n):
    return n + 1
g(1)
## behind a semicolon
a = 1; print(a); b = a + 1
---
final_answer(b)
===
a = 1; b = a + 1
b
## before a semicolon
print(0); a = 1  # one
---
final_answer(a)
===
a = 1  # one
a
## comments
# look
print(0)  # zero

# set
a = 1

# look again
print(a)
---
final_answer(a)
===
# set
a = 1
a
## words
text = 'b a'
words = text.split()
print(sorted(words), text.upper())
---
final_answer(text)
===
text = 'b a'
text
## a stopwatch
import time
start = time.time()
x = sum(range(9))
print(time.time() - start)
---
final_answer(x)
===
x = sum(range(9))
x
## a loop over items
a = {'k': [1]}
for key, value in a.items():
    print(key, value)
---
final_answer(a)
===
a = {'k': [1]}
a
## looks at an array
import numpy as np
m = np.arange(6).reshape(2, 3)
print(m.shape, m.mean(axis=0), np.linalg.norm(m))
---
final_answer(m.sum())
===
import numpy as np
m = np.arange(6).reshape(2, 3)
m.sum()
"""
"""What is looked at on the way, and what is left."""

BREAKING = r"""
## alias
a = []
b = a
---
b.append(1)
print(b)
---
final_answer(a)
## alias in a list
a = {}
box = [a]
---
box[0]['k'] = 1
---
final_answer(a)
## alias in a dict
a = []
d = {'a': a}
---
d['a'] += [2]
---
final_answer(len(a))
## alias through get
d = {'k': []}
d.get('k').append(3)
d.setdefault('m', []).append(4)
---
final_answer(d)
## alias by a loop
rows = [[1], [2]]
for row in rows:
    row.append(0)
---
final_answer(rows)
## alias by a comprehension
a = [[1], [2]]
b = [x for x in a if x]
b[0].append(5)
---
final_answer(a)
## alias by unpacking
a, b = pair = ([], [])
a.append(1)
---
final_answer(pair)
## alias through a function
def same(x):
    return x

a = []
b = same(a)
b.append(1)
---
final_answer(a)
## alias through an attribute
class Box:
    pass

box = Box()
box.items = a = []
a.append(1)
---
final_answer(box.items)
## alias before it is rebound
a = b = [1]
a += [2]
a = None
---
final_answer(b)
## chained alias
a = []
b = a
c = b
b = 0
c.append(1)
---
final_answer(a)
## slice is no alias
a = [1, 2]
b = a[:]
b.append(3)
---
final_answer((a, b))
## nested slice is
a = [[1], [2]]
b = a[:1]
b[0].append(3)
---
final_answer(a)
## argument changed
def fill(box):
    box.append(7)

xs = []
fill(xs)
print(xs)
---
final_answer(xs)
## argument kept
seen = []
def keep(x):
    seen.append(x)

a = []
keep(a)
---
seen[0].append(1)
---
final_answer(a)
## argument of an inner call
def inner(b):
    b.append(1)

def outer(b):
    inner(b)

xs = []
outer(xs)
---
final_answer(xs)
## argument changed by a later function
def outer(b):
    inner(b)

def inner(b):
    b.append(1)

xs = []
outer(xs)
---
final_answer(xs)
## keyword argument
def fill(n, *, box):
    box.append(n)

xs = []
fill(1, box=xs)
---
final_answer(xs)
## star arguments
def fill(*boxes):
    boxes[1].append(1)

xs = []
fill(0, xs)
---
final_answer(xs)
## a copy is changed, not the argument
def f(x):
    x = list(x)
    x.append(1)
    return x

a = [0]
b = f(a)
---
final_answer((a, b))
## global written
n = 0
def bump():
    global n
    n += 1

bump()
bump()
---
final_answer(n)
## global list changed
log = []
def f(x):
    log.append(x)
    return x

print(f(3))
---
final_answer(log)
## global read late
k = 2
def f(x):
    return x * k

k = 3
---
final_answer(f(2))
## global read by a lambda
k = 2
f = lambda x: x * k
k = 5
---
g = f
---
final_answer(g(2))
## global read through a dict
k = 1
def f():
    return k

table = {'f': f}
k = 4
---
final_answer(table['f']())
## global made in a function
def make():
    global made
    made = [1]

make()
---
final_answer(made)
## closure
def counter():
    n = 0
    def step():
        nonlocal n
        n += 1
        return n
    return step

c = counter()
print(c())
print(c())
---
final_answer(c())
## default argument
def f(x, seen=[]):
    seen.append(x)
    return len(seen)

f(1)
print(f(2))
---
final_answer(f(3))
## function attribute
def f():
    f.n += 1
    return f.n

f.n = 0
print(f())
---
final_answer(f())
## recursion with a memo
memo = {}
def fib(n):
    if n < 2:
        return n
    if n not in memo:
        memo[n] = fib(n - 1) + fib(n - 2)
    return memo[n]

print(fib(9))
---
final_answer(len(memo))
## decorator that registers
table = {}
def register(f):
    table[f.__name__] = f
    return f

@register
def double(x):
    return 2 * x
---
final_answer(table['double'](4))
## decorator that counts
calls = []
def counted(f):
    def inner(*a):
        calls.append(a)
        return f(*a)
    return inner

@counted
def g(x):
    return x

print(g(1))
---
final_answer(len(calls))
## method
class Account:
    def __init__(self):
        self.n = 0
    def pay(self, x):
        self.n += x

a = Account()
a.pay(3)
print(a.n)
a.pay(4)
---
final_answer(a.n)
## class attribute
class A:
    made = []
    def __init__(self):
        self.made.append(1)

A()
b = A()
---
final_answer(len(A.made))
## class counter
class A:
    n = 0
    def __init__(self):
        A.n += 1

x = A()
print(A())
---
final_answer(A.n)
## class keeps an argument
class Box:
    def __init__(self, items):
        self.items = items
    def put(self, x):
        self.items.append(x)

xs = []
box = Box(xs)
box.put(1)
---
final_answer(xs)
## property that counts
class A:
    n = 0
    @property
    def value(self):
        self.n += 1
        return self.n

a = A()
print(a.value)
a.value
---
final_answer(a.value)
## item that counts
class A:
    n = 0
    def __getitem__(self, k):
        self.n += 1
        return self.n

a = A()
print(a[0])
---
final_answer(a[0])
## callable instance
class A:
    def __init__(self):
        self.n = 0
    def __call__(self):
        self.n += 1
        return self.n

a = A()
print(a())
---
final_answer(a())
## subclass that registers
class Base:
    kinds = []
    def __init_subclass__(cls):
        Base.kinds.append(cls.__name__)

class Sub(Base):
    pass
---
final_answer(Base.kinds)
## inherited method
class A:
    def __init__(self):
        self.xs = []
    def put(self, x):
        self.xs.append(x)

class B(A):
    pass

b = B()
b.put(1)
---
final_answer(b.xs)
## dataclass
from dataclasses import dataclass, field
@dataclass
class P:
    tags: list = field(default_factory=list)

p = P()
q = p
q.tags.append('x')
---
final_answer(p.tags)
## patched class
class A:
    pass

a = A()
A.shout = lambda self: 'hey'
---
final_answer(a.shout())
## setattr
class A:
    pass

a = A()
setattr(a, 'x', 3)
---
final_answer(a.x)
## method with a harmless name
class Bag:
    def __init__(self):
        self.n = 0
    def count(self):
        self.n += 1
        return self.n

b = Bag()
print(b.count())
---
final_answer(b.count())
## generator used up
g = (x for x in range(5))
print(next(g))
print(next(g))
---
final_answer(list(g))
## generator gone through
g = iter([1, 2, 3])
for x in g:
    break
---
final_answer(list(g))
## generator summed
g = map(abs, [-1, -2])
print(sum(g))
---
final_answer(list(g))
## generator unpacked
g = iter(range(6))
a, b, *c = [next(g), next(g)]
print(*g)
---
final_answer(list(g))
## generator searched
g = iter(range(6))
print(3 in g)
---
final_answer(next(g))
## generator by a function
def gen():
    yield 1
    yield 2

g = gen()
print(next(g))
---
final_answer(next(g))
## generator behind zip
g = iter('abc')
print(list(zip('x', g)))
---
final_answer(''.join(g))
## generator in a function
def first(it):
    return list(it)[:1]

g = iter([1, 2])
print(first(g))
---
final_answer(list(g))
## generator that reads late
xs = [1]
g = (x * k for x in xs)
k = 3
xs.append(2)
---
final_answer(list(g))
## shared counter
import itertools
ids = itertools.count()
print(next(ids))
---
final_answer(next(ids))
## defaultdict
from collections import defaultdict
d = defaultdict(list)
print(d['a'])
d['b'].append(1)
---
final_answer(dict(d))
## pop as a value
xs = [1, 2, 3]
last = xs.pop()
print(last)
---
final_answer(xs)
## printed pop
xs = [1, 2, 3]
print(xs.pop(0))
---
final_answer(xs)
## mutation in a print
d = {}
print(d.setdefault('k', 5))
---
final_answer(d)
## mutation in a condition
xs = [1]
if xs.append(2) is None:
    pass
---
final_answer(xs)
## mutation in a comprehension
xs = []
_ = [xs.append(i) for i in range(3)]
---
final_answer(xs)
## mutation by map
xs = []
list(map(xs.append, [1, 2]))
---
final_answer(xs)
## mutation by a bound method
xs = []
add = xs.append
add(1)
---
final_answer(xs)
## mutation by a callback
def put(row):
    row.append(1)

rows = [[], []]
list(map(put, rows))
---
final_answer(rows)
## mutation by sort
xs = [2, 1]
xs.sort()
---
final_answer(xs[0])
## mutation by heapq
import heapq
xs = [3, 1, 2]
heapq.heapify(xs)
print(heapq.heappop(xs))
---
final_answer(xs[0])
## mutation by bisect
from bisect import insort
xs = [1, 3]
insort(xs, 2)
---
final_answer(xs)
## mutation by a slice
xs = [1, 2, 3]
xs[1:] = []
---
final_answer(xs)
## mutation by del
d = {'a': 1, 'b': 2}
del d['a']
---
final_answer(d)
## walrus
if (n := 4) > 3:
    print(n)
---
final_answer(n)
## walrus in a comprehension
print([y := x for x in range(3)])
---
final_answer(y)
## conditional binding
x = 1
if True:
    x = 2
---
final_answer(x)
## conditional that does not bind
x = 1
if x > 5:
    x = 2
---
final_answer(x)
## loop variable
x = 0
for x in range(4):
    pass
---
final_answer(x)
## empty loop
x = 7
for x in []:
    pass
---
final_answer(x)
## loop carried
a, b = 0, 1
for _i in range(5):
    a, b = b, a + b
---
final_answer(a)
## while
n, steps = 6, 0
while n != 1:
    n = n // 2 if n % 2 == 0 else 3 * n + 1
    steps += 1
---
final_answer(steps)
## try
x = 0
try:
    x = 1 / 0
except ZeroDivisionError as e:
    msg = str(e)
---
final_answer((x, msg))
## suppress
from contextlib import suppress
x = 1
with suppress(KeyError):
    {}['a']
    x = 2
---
final_answer(x)
## match
p = {'kind': 'dot', 'at': [1, 2]}
match p:
    case {'at': [a, b]}:
        pass
---
final_answer(a + b)
## starred
first, *rest = [1, 2, 3]
rest.append(4)
---
final_answer(rest)
## swap
a, b = 1, 2
a, b = b, a
---
final_answer(a)
## del and again
x = 1
del x
x = 2
---
final_answer(x)
## redefined function
def f():
    return 1
---
def f():
    return 2
---
final_answer(f())
## import shadowed
from math import sqrt
sqrt = lambda x: x
---
final_answer(sqrt(4))
## two imports of one package
import os.path
import os
---
final_answer(os.path.join('a', 'b'))
## submodule imported
import xml.dom
import xml.etree.ElementTree
---
final_answer(xml.etree.ElementTree.Element('a').tag)
## random with a seed
import random
random.seed(1)
print(random.random())
x = random.random()
---
final_answer(x)
## generator of random numbers
import numpy as np
rng = np.random.default_rng(0)
print(rng.normal())
x = rng.normal()
---
final_answer(float(x))
## shuffled
import random
random.seed(3)
xs = [1, 2, 3, 4]
random.shuffle(xs)
---
final_answer(xs)
## decimal context
from decimal import Decimal, getcontext
getcontext().prec = 5
---
final_answer(str(Decimal(1) / Decimal(3)))
## environment
import os
os.environ['SMOL_TEST_SLICE'] = 'on'
---
final_answer(os.environ.get('SMOL_TEST_SLICE'))
## recursion limit
import sys
sys.setrecursionlimit(3456)
---
final_answer(sys.getrecursionlimit())
## in memory file
import io
buf = io.StringIO()
print('hello', file=buf)
---
final_answer(buf.getvalue())
## redirected
import io, contextlib
buf = io.StringIO()
with contextlib.redirect_stdout(buf):
    print('hi')
---
final_answer(buf.getvalue())
## database
import sqlite3
con = sqlite3.connect(':memory:')
cur = con.cursor()
cur.execute('create table t (x)')
cur.execute('insert into t values (1)')
con.commit()
print(cur.execute('select * from t').fetchall())
---
final_answer(con.execute('select count(*) from t').fetchone()[0])
## table inplace
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
df.dropna(inplace=True)
---
final_answer(len(df))
## table column
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
df['w'] = df['v'] * 2
print(df)
---
final_answer(df['w'].sum())
## table view
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
df.loc[df['v'].isna(), 'v'] = 0
---
final_answer(df['v'].sum())
## table insert
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
df.insert(0, 'i', range(3))
---
final_answer(list(df.columns))
## table columns renamed
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
df.columns = ['a', 'b']
---
final_answer(list(df.columns))
## table pop
import pandas as pd
df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, None, 3.0]})
print(df.pop('v'))
---
final_answer(list(df.columns))
## array view
import numpy as np
a = np.zeros(4)
b = a[1:3]
b[:] = 5
---
final_answer(a.sum())
## array reshaped
import numpy as np
a = np.zeros(4)
b = a.reshape(2, 2)
b += 1
---
final_answer(a.sum())
## array out
import numpy as np
a = np.ones(3)
np.add(a, 1, out=a)
---
final_answer(a.sum())
## array filled
import numpy as np
a = np.ones((2, 2))
np.fill_diagonal(a, 5)
---
final_answer(a.sum())
## partial
from functools import partial
xs = []
add = partial(xs.append, 1)
add()
---
final_answer(xs)
## queue
from collections import deque
q = deque([1, 2])
q.rotate(1)
print(q.popleft())
---
final_answer(list(q))
## threads
import threading
out = []
def work(n):
    out.append(n)

ts = [threading.Thread(target=work, args=(i,)) for i in range(2)]
for t in ts: t.start()
for t in ts: t.join()
---
final_answer(sorted(out))
## thread pool
from concurrent.futures import ThreadPoolExecutor
out = []
with ThreadPoolExecutor() as pool:
    pool.submit(out.append, 1)
---
final_answer(out)
## exec
code = 'z = 5'
exec(code)
---
final_answer(z)
## globals
globals()['z'] = 6
---
final_answer(z)
## star import
from math import *
---
final_answer(sqrt(9))
## module patched
import math
math.tau = 6
print(math.tau)
---
import math as m
---
final_answer(m.tau)
## weird call
xs = []
(lambda: xs.append(1))()
---
final_answer(xs)
## list of functions
xs = []
fs = [xs.append]
for f in fs: f(2)
---
final_answer(xs)
## sort key
w = {'a': 2, 'b': 1}
xs = ['a', 'b']
xs.sort(key=lambda x: w[x])
---
final_answer(xs)
## reduce
from functools import reduce
acc = []
reduce(lambda a, x: a.append(x) or a, [1, 2], acc)
---
final_answer(acc)
## exception carries
class E(Exception):
    seen = []

try:
    E.seen.append(1)
    raise E
except E:
    pass
---
final_answer(E.seen)
## enum
from enum import Enum
class C(Enum):
    A = 1
---
final_answer(C.A.value)
## namedtuple
from collections import namedtuple
P = namedtuple('P', 'x')
p = P([])
p.x.append(1)
---
final_answer(p.x)
## context manager
from contextlib import contextmanager
log = []
@contextmanager
def noted():
    log.append('in')
    yield
    log.append('out')

with noted():
    print('x')
---
final_answer(log)
## class made in a function
made = []
def make():
    class A:
        def __init__(self):
            made.append(1)
    return A

A = make()
A()
---
final_answer(len(made))
## helper that keeps state
class Cache:
    def __init__(self):
        self.d = {}
    def get(self, k):
        self.d[k] = self.d.get(k, 0) + 1
        return self.d[k]

c = Cache()
print(c.get('a'))
---
final_answer(c.get('a'))
"""
"""Each would answer something else if a statement too many were dropped."""


def cases(text: str) -> dict[str, tuple[list[str], str]]:
    """Name → steps and what is left of them, as the texts above have them."""
    found = {}
    for case in text.split("\n## ")[1:]:
        name, _, rest = case.strip("\n").partition("\n")
        steps, _, left = rest.partition("\n===\n")
        found[name] = (steps.split("\n---\n"), left)
    return found
