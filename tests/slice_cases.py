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
## what was deleted
xs = [1, 2]
ys = xs
del xs
---
xs = [3]
print(xs)
---
final_answer(ys)
===
xs = [1, 2]
ys = xs
ys
## messages to the screen
import logging
logging.basicConfig(level=20)
logger = logging.getLogger("a")
xs = [1, 2]
logger.info("%s", xs)
---
final_answer(sum(xs))
===
import logging
logging.basicConfig(level=20)
xs = [1, 2]
sum(xs)
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
## alias in the rest of a list
a = [[1], [2], [3]]
first, *rest = a
rest[0].append(9)
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
## copy shallow
a=[[1]]
b=a.copy()
---
b[0].append(2)
---
final_answer(a)
## dict of dict
d={'x':{'y':1}}
inner=d['x']
---
inner['y']=5
---
final_answer(d)
## sorted alias
rows=[{'n':2},{'n':1}]
for r in sorted(rows,key=lambda r:r['n']): r['m']=1
---
final_answer(rows)
## enumerate
rows=[[0],[0]]
for i,r in enumerate(rows): r[0]=i
---
final_answer(rows)
## zip alias
a=[[1],[2]]
for x,y in zip(a,[5,6]): x.append(y)
---
final_answer(a)
## items alias
d={'a':[1]}
for k,v in d.items(): v.append(k)
---
final_answer(d)
## values filter
a=[[1],[]]
for x in filter(None,a): x.append(9)
---
final_answer(a)
## max alias
a=[[1],[3]]
m=max(a)
m.append(7)
---
final_answer(a)
## ternary
a=[1]
b=a if True else None
b.append(1)
---
final_answer(a)
## or
a=[1]
b=a or []
b.append(1)
---
final_answer(a)
## nested fn
def outer(xs):
    def inner():
        xs.append(1)
    inner()

a=[]
outer(a)
---
final_answer(a)
## returned inner
def outer(xs):
    def inner():
        xs.append(1)
    return inner

a=[]
f=outer(a)
f()
---
final_answer(a)
## lambda capture
a=[]
f=lambda x: a.append(x)
f(1)
---
final_answer(a)
## method ref
class A:
    def __init__(self): self.n=0
    def inc(self): self.n+=1

a=A()
g=a.inc
g()
---
final_answer(a.n)
## dict dispatch
log=[]
def f(): log.append(1)
ops={'f':f}
ops['f']()
---
final_answer(log)
## class dispatch
log=[]
class C:
    def go(self): log.append(1)

objs=[C()]
for o in objs: o.go()
---
final_answer(log)
## getattr
class A: pass

a=A()
a.xs=[]
getattr(a,'xs').append(1)
---
final_answer(a.xs)
## vars
class A: pass

a=A()
vars(a)['x']=1
---
final_answer(a.x)
## __dict__
class A: pass

a=A()
a.__dict__['x']=1
---
final_answer(a.x)
## update kw
d={}
d.update(a=1)
---
final_answer(d)
## ior
d={'a':1}
e=d
e|={'b':2}
---
final_answer(d)
## str aug
s='a'
s+='b'
print(s)
---
final_answer(s)
## tuple of list
t=([],1)
t[0].append(3)
---
final_answer(t)
## chained attr
class N:
    def __init__(self,v): self.v=v; self.next=None

a=N(1)
a.next=N(2)
b=a.next
b.v=9
---
final_answer(a.next.v)
## linked list
class N:
    def __init__(self,v,nxt=None): self.v=v; self.nxt=nxt

b=N(2)
a=N(1,b)
b.v=9
---
final_answer(a.nxt.v)
## static
class A:
    log=[]
    @staticmethod
    def put(x): A.log.append(x)

A.put(3)
---
final_answer(A.log)
## classmethod
class A:
    log=[]
    @classmethod
    def put(cls,x): cls.log.append(x)

A.put(3)
---
final_answer(A.log)
## setter
class A:
    @property
    def x(self): return self._x
    @x.setter
    def x(self,v): self._x=v*2

a=A()
a.x=4
---
final_answer(a.x)
## iadd dunder
class A:
    def __init__(self): self.n=0
    def __iadd__(self,o):
        self.n+=o
        return self

a=A()
b=a
b+=3
---
final_answer(a.n)
## yield send
def g():
    t=0
    while True:
        x=yield t
        t+=x or 0

s=g()
next(s)
s.send(3)
print(s.send(4))
---
final_answer(s.send(1))
## yield from
def g(xs):
    yield from xs

it=iter([1,2,3])
x=g(it)
print(next(x))
---
final_answer(list(it))
## list iterator kept
it=iter([1,2,3])
box=[it]
print(next(box[0]))
---
final_answer(list(it))
## islice
from itertools import islice
it=iter(range(9))
print(list(islice(it,3)))
---
final_answer(next(it))
## tee
from itertools import tee
a,b=tee(iter(range(3)))
print(list(a))
---
final_answer(list(b))
## groupby
from itertools import groupby
g=groupby('aab')
print([k for k,_ in g])
---
final_answer(len(list(g)))
## enum iter
e=enumerate('abc')
print(next(e))
---
final_answer(list(e))
## sum of gen from fn
def pos(xs): return (x for x in xs if x>0)

p=pos([1,-1,2])
print(sum(p))
---
final_answer(list(p))
## map result twice
m=map(str,[1,2])
print(','.join(m))
---
final_answer(list(m))
## lru cache
from functools import lru_cache
n=[0]
@lru_cache(None)
def f(x):
    n[0]+=1
    return x

print(f(1),f(1))
---
final_answer((f(1),n[0]))
## cached property
from functools import cached_property
n=[]
class A:
    @cached_property
    def v(self):
        n.append(1)
        return 3

a=A()
print(a.v)
---
final_answer((a.v,n))
## singledispatch
from functools import singledispatch
@singledispatch
def f(x): return 'any'

@f.register(int)
def _(x): return 'int'
---
final_answer(f(3))
## metaclass
reg=[]
class M(type):
    def __new__(m,n,b,d):
        c=super().__new__(m,n,b,d)
        reg.append(n)
        return c

class A(metaclass=M): pass
---
final_answer(reg)
## descriptor
class D:
    def __set_name__(self,o,n): seen.append(n)

seen=[]
class A:
    x=D()
---
final_answer(seen)
## abc
from abc import ABC, abstractmethod
class S(ABC):
    @abstractmethod
    def a(self): ...

class Q(S):
    def a(self): return 4

s=Q()
---
final_answer(s.a())
## operator setitem
import operator
d={}
operator.setitem(d,'a',1)
---
final_answer(d)
## list.append unbound
a=[]
list.append(a,1)
---
final_answer(a)
## dict.update unbound
d={}
dict.update(d,a=1)
---
final_answer(d)
## type()
A=type('A',(),{'x':1})
A.x=2
---
final_answer(A().x)
## nonlocal cond
x=1
def f():
    global x
    if x: x=5

f()
print(x)
---
final_answer(x)
## exec alias
e=exec
e('q=3')
---
final_answer(q)
## import as fn
from json import loads as L, dumps
x=L('[1]')
---
final_answer(x)
## array asarray
import numpy as np
a=[1,2]
b=np.asarray(a)
c=np.asarray(b)
c[0]=9
---
final_answer(b.tolist())
## array T
import numpy as np
a=np.zeros((2,2))
a.T[0,1]=4
---
final_answer(a.sum())
## array flat
import numpy as np
a=np.zeros((2,2))
a.flat[1]=4
---
final_answer(a.sum())
## array iter rows
import numpy as np
a=np.zeros((2,2))
for r in a: r+=1
---
final_answer(a.sum())
## np.put
import numpy as np
a=np.zeros(3)
np.put(a,[0],[5])
---
final_answer(a.sum())
## np shuffle
import numpy as np
np.random.seed(0)
a=np.arange(5)
np.random.shuffle(a)
print(np.random.rand())
---
final_answer((a.tolist(),float(np.random.rand())))
## np nditer
import numpy as np
a=np.arange(3)
with np.nditer(a,op_flags=['readwrite']) as it:
    for x in it: x[...]=2*x
---
final_answer(a.sum())
## np list of arrays
import numpy as np
rows=[np.zeros(2) for _ in range(2)]
for r in rows: r[0]=1
---
final_answer(sum(r.sum() for r in rows))
## pd at
import pandas as pd
df=pd.DataFrame({'a':[1,2]})
df.at[0,'a']=9
---
final_answer(df['a'].sum())
## pd col attr
import pandas as pd
df=pd.DataFrame({'a':[1,2]})
df.a=[5,6]
---
final_answer(df['a'].sum())
## pd index
import pandas as pd
df=pd.DataFrame({'a':[1,2]})
df.index=['x','y']
df.index.name='i'
---
final_answer(df.index.name)
## pd update
import pandas as pd
df=pd.DataFrame({'a':[1,2]})
df.update(pd.DataFrame({'a':[7,8]}))
---
final_answer(df['a'].sum())
## pd apply effect
import pandas as pd
seen=[]
df=pd.DataFrame({'a':[1,2]})
df['a'].apply(seen.append)
---
final_answer(seen)
## pd pipe
import pandas as pd
def add(d):
    d['b']=1
    return d

df=pd.DataFrame({'a':[1,2]})
x=df.pipe(add)
---
final_answer(list(df.columns))
## pd dict of df
import pandas as pd
fs={k:pd.DataFrame({'a':[1]}) for k in 'xy'}
for f in fs.values(): f['b']=2
---
final_answer(list(fs['x'].columns))
## pd option
import pandas as pd
pd.set_option('display.max_rows',7)
---
final_answer(pd.get_option('display.max_rows'))
## counter subtract
from collections import Counter
c=Counter('aab')
c.subtract('a')
---
final_answer(dict(c))
## ordered move
from collections import OrderedDict
d=OrderedDict(a=1,b=2)
d.move_to_end('a')
---
final_answer(list(d))
## chainmap
from collections import ChainMap
a={}
m=ChainMap(a,{})
m['k']=1
---
final_answer(a)
## simple ns
from types import SimpleNamespace
s=SimpleNamespace(x=[])
s.x.append(1)
s.y=2
---
final_answer((s.x,s.y))
## bytearray
b=bytearray(b'abc')
m=memoryview(b)
m[0]=65
---
final_answer(bytes(b))
## struct pack_into
import struct
b=bytearray(4)
struct.pack_into('i',b,0,7)
---
final_answer(bytes(b))
## array.array
from array import array
a=array('i',[1])
a.append(2)
---
final_answer(list(a))
## deque extendleft
from collections import deque
q=deque()
q.extendleft([1,2])
---
final_answer(list(q))
## set ops
s={1}
s|={2}
s.symmetric_difference_update({1})
---
final_answer(s)
## queue again
import queue
q=queue.Queue()
q.put(1)
q.put(2)
print(q.get())
---
final_answer(q.get())
## heap nlargest
import heapq
h=[]
x=[5]
heapq.heappush(h,x)
x[0]=1
---
final_answer(h)
## csv writer
import csv,io
b=io.StringIO()
w=csv.writer(b)
w.writerow([1,2])
---
final_answer(b.getvalue())
## json dump
import json,io
b=io.StringIO()
json.dump({'a':1},b)
---
final_answer(b.getvalue())
## io seek
import io
b=io.StringIO('a\nb\n')
print(b.readline())
---
final_answer(b.read())
## re scanner
import re
it=re.finditer('a','aaa')
print(next(it).start())
---
final_answer([m.start() for m in it])
## logging
import logging,io
b=io.StringIO()
l=logging.getLogger('zz')
l.addHandler(logging.StreamHandler(b))
l.warning('x')
---
final_answer(b.getvalue())
## warnings
import warnings
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter('always')
    warnings.warn('x')
---
final_answer(len(w))
## contextvar
import contextvars
v=contextvars.ContextVar('v')
v.set(3)
---
final_answer(v.get())
## stdout patched
import sys,io
old=sys.stdout
sys.stdout=io.StringIO()
print('x')
t=sys.stdout.getvalue()
sys.stdout=old
---
final_answer(t)
## xml
import xml.etree.ElementTree as E
r=E.Element('a')
E.SubElement(r,'b')
---
final_answer(len(r))
## dataclass replace
from dataclasses import dataclass, replace
@dataclass
class P:
    xs: list

p=P([1])
q=replace(p)
q.xs.append(2)
---
final_answer(p.xs)
## asdict
from dataclasses import dataclass
@dataclass
class P:
    n: int=0

p=P()
p.n+=4
---
final_answer(p.n)
## copy module
import copy
a=[[1]]
b=copy.copy(a)
b[0].append(2)
---
final_answer(a)
## deepcopy memo
import copy
a=[[1]]
b=copy.deepcopy(a)
b[0].append(2)
---
final_answer(b)
## slots star
def f(*a,**k):
    k['box'].append(a)

xs=[]
f(1,box=xs)
---
final_answer(xs)
## kwargs passed
def g(**k): k['xs'].append(1)
def f(**k): g(**k)

xs=[]
f(xs=xs)
---
final_answer(xs)
## callback stored
hooks=[]
def on(f): hooks.append(f)

out=[]
on(out.append)
for h in hooks: h(5)
---
final_answer(out)
## observer
class S:
    def __init__(self): self.fs=[]
    def add(self,f): self.fs.append(f)
    def fire(self,x):
        for f in self.fs: f(x)

out=[]
s=S()
s.add(out.append)
s.fire(3)
---
final_answer(out)
## observer fn
class S:
    def __init__(self): self.fs=[]
    def add(self,f): self.fs.append(f)
    def fire(self,x):
        for f in self.fs: f(x)

out=[]
def h(x): out.append(x)
s=S()
s.add(h)
s.fire(3)
---
final_answer(out)
## visitor
import ast as A
class V(A.NodeVisitor):
    def __init__(self): self.n=0
    def visit_Name(self,node): self.n+=1

v=V()
v.visit(A.parse('a+b'))
---
final_answer(v.n)
## sort by method
class K:
    def __init__(self): self.c=0
    def key(self,x):
        self.c+=1
        return -x

k=K()
print(sorted([1,2],key=k.key))
---
final_answer(k.c)
## eq counts
class E:
    n=0
    def __eq__(self,o):
        E.n+=1
        return True
    __hash__=None

print(E()==E())
---
final_answer(E.n)
## len counts
class E:
    def __init__(self): self.n=0
    def __len__(self):
        self.n+=1
        return 2

e=E()
print(len(e))
---
final_answer(e.n)
## iter class
class I:
    def __init__(self): self.n=0
    def __iter__(self): return self
    def __next__(self):
        self.n+=1
        if self.n>3: raise StopIteration
        return self.n

i=I()
print(sum(i))
---
final_answer(i.n)
## with class
class W:
    log=[]
    def __enter__(self):
        self.log.append('in')
        return self
    def __exit__(self,*a):
        self.log.append('out')

w=W()
with w: pass
---
final_answer(W.log)
## del hook
log=[]
class D:
    def __del__(self): log.append(1)

d=D()
d=None
---
final_answer(len(log))
## del hook 2
log=[]
class D:
    def __del__(self): log.append(1)

d=D()
del d
---
final_answer(len(log))
## format hook
class F:
    n=0
    def __format__(self,s):
        F.n+=1
        return 'x'

f=F()
print(f'{f}')
---
final_answer(F.n)
## str hook
class F:
    n=0
    def __str__(self):
        F.n+=1
        return 'x'

f=F()
print(f)
---
final_answer(F.n)
## getattr hook
class G:
    def __init__(self): self.seen=[]
    def __getattr__(self,n):
        self.seen.append(n)
        return 1

g=G()
print(g.foo)
---
final_answer(g.seen)
## what was read is edited
import io, json
rows = json.load(io.StringIO('[{"t": [1, 999]}, {"t": [2]}]'))
print(rows)
---
for row in rows:
    row['t'] = [t for t in row['t'] if t != 999]
---
final_answer(rows)
## a setting that was read
import configparser
c = configparser.ConfigParser()
c.read_string('[a]\nb = 1')
print(c.sections())
---
c['a']['b'] = '2'
---
final_answer(c['a']['b'])
## what is found in a tree
import xml.etree.ElementTree as E
root = E.fromstring('<a><b>1</b><c/><c/></a>')
print(root.tag)
---
root.find('b').text = 'z'
---
for e in root.findall('c'):
    e.attrib['k'] = 'v'
---
final_answer(E.tostring(root))
## a part made in a tree
import xml.etree.ElementTree as E
root = E.Element('a')
b = E.SubElement(root, 'b')
print(b)
---
b.text = 'z'
---
final_answer(E.tostring(root))
## one of several
import random
rows = [{'a': 1}]
r = random.Random(1).choice(rows)
random.seed(1)
q = random.choice(rows)
print(q)
---
q['a'] = 5
---
final_answer(rows)
## an item of a document
from xml.dom import minidom
d = minidom.parseString('<a><b/></a>')
print(d)
---
d.getElementsByTagName('b').item(0).setAttribute('x', '1')
---
final_answer(d.toxml())
## a builtin's name given back
list = [1, 2]
print(list)
---
del list
---
final_answer(list('ab'))
## names in a string of pandas
import pandas as pd
df = pd.DataFrame({"a": [1.0, None, 3.0]})
---
df = df.dropna()
print(df)
---
x = pd.eval("df.a * 2")
---
final_answer(x.tolist())
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
