#!/usr/bin/env python3
"""What runs inside sandboxes runs on Python 3.4 too, the oldest that is supported: its grammar, its
modules, its functions.

The interpreter itself is hardly to be had any more (docs/pythons.md says how to test with one), so
this reads the sources. A name that is missing below is added after a look into the documentation of
3.4; whether it stands in a newer Python says nothing. What is used only where it exists (`if
hasattr`, `try: import`, `if sys.version_info`) need not be there."""
import ast
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = ['sandbox/forkserver.py', 'executors/pool/selftest.c'] + sorted(
    os.path.relpath(path, ROOT) for path in glob.glob(ROOT + '/examples/*.py')
)
MODULES = {
    'sys': '__excepthook__ __stderr__ __stdin__ __stdout__ argv exc_info excepthook exit executable getfilesystemencoding last_traceback '
    'last_type last_value modules path stderr stdin stdout version version_info',
    'os': 'O_RDONLY O_RDWR _exit close closerange dup dup2 environ environb fork getgid getpid getuid kill open path pipe pread putenv pwrite read '
    'setgroups setresgid setresuid setsid strerror wait4 write',
    '_io': 'TextIOWrapper open',
    'signal': 'SIGALRM SIGINT SIGTERM SIG_DFL SIG_IGN alarm signal',
    '_ctypes': 'call_function dlopen dlsym',
    'errno': 'errorcode',
    'socket': 'AF_INET SOCK_DGRAM SOCK_STREAM create_connection socket timeout',
    '_socket': 'AF_UNIX CMSG_SPACE SOCK_SEQPACKET socket',
    '_struct': 'calcsize pack unpack unpack_from',
    'atexit': '_run_exitfuncs',
    'gc': 'collect disable enable',
    'json': 'dump dumps load loads',
    'marshal': 'dumps loads',
    'pwd': '',
    'resource': 'RLIMIT_CPU RLIMIT_NOFILE getrlimit setrlimit',
    'select': 'POLLIN poll',
    'threading': '_shutdown',
    'time': 'clock monotonic sleep time',
    'traceback': 'print_exception',
    'urllib.error': '',
    'urllib.parse': 'quote urlencode',
    'urllib.request': 'Request urlopen',
    'requests': None,  # the image brings it: any version for any Python
}
# Methods of built-in types that came later.
NEWER_METHODS = {'hex', 'removeprefix', 'removesuffix', 'isascii', 'bit_count', 'as_integer_ratio'}


def guards(tree):
    """The nodes that are reached only where something newer exists."""
    guarded = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(
            'ImportError' in ast.dump(handler.type) for handler in node.handlers if handler.type
        ):
            guarded.update(id(n) for part in node.body for n in ast.walk(part))
        elif isinstance(node, ast.If) and ('hasattr' in ast.dump(node.test) or 'version_info' in ast.dump(node.test)):
            guarded.update(id(n) for part in node.body for n in ast.walk(part))
    return guarded


def imported(node):
    """(module, name it goes by) of an import, statement or call."""
    if isinstance(node, ast.Import):
        return [(alias.name, alias.asname or alias.name.split('.')[0]) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [(node.module, None)]
    if (
        isinstance(node, ast.Call)
        and getattr(node.func, 'id', None) == '__import__'
        and isinstance(node.args[0], ast.Constant)
    ):
        return [(node.args[0].value, None)]
    return []


def look(node, known):
    """What is newer than 3.4 in NODE. KNOWN: {name: module}, filled on the way."""
    for module, name in imported(node):
        if module not in MODULES:
            yield 'module %s' % module
        elif name:
            known[name] = module
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and known.get(node.value.id) in MODULES:
        names = MODULES[known[node.value.id]]
        if names is not None and '.' not in known[node.value.id] and node.attr not in names.split():
            yield '%s.%s' % (known[node.value.id], node.attr)
    if isinstance(node, ast.JoinedStr):  # Python 3.12 and later parse it for any version
        yield 'f-string'
    if isinstance(node, ast.Attribute) and node.attr in NEWER_METHODS:
        yield 'method %s()' % node.attr
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mod)
        and isinstance(getattr(node.left, 'value', None), bytes)
    ):
        yield '%-formatting of bytes'
    if (
        isinstance(node, ast.Call)
        and sum(isinstance(arg, ast.Starred) for arg in node.args) + sum(k.arg is None for k in node.keywords) > 2
    ):
        yield 'several unpackings in a call'
    if (
        isinstance(node, (ast.List, ast.Tuple, ast.Set))
        and isinstance(node.ctx if hasattr(node, 'ctx') else ast.Load(), ast.Load)
        and any(isinstance(element, ast.Starred) for element in node.elts)
    ):
        yield 'unpacking in a list'
    if isinstance(node, ast.Dict) and None in node.keys:
        yield 'unpacking in a dictionary'


def newer(text):
    """[(line, what)] in TEXT that Python 3.4 has not."""
    try:
        tree = ast.parse(text, feature_version=(3, 4))
    except SyntaxError as error:
        return [(error.lineno, error.msg)]
    guarded, known, found = guards(tree), {}, []
    for node in sorted(ast.walk(tree), key=lambda node: (getattr(node, 'lineno', 0), getattr(node, 'col_offset', 0))):
        if id(node) not in guarded:
            found += [(node.lineno, what) for what in look(node, known)]
    return found


def python_of(name):
    """The text; of a C file, the Python in its string literals."""
    with open(os.path.join(ROOT, name)) as f:
        text = f.read()
    if not name.endswith('.c'):
        return text
    literals = re.search(
        r'((?:^\s*"import (?:[^"\\]|\\.)*"\s*$)(?:\n^\s*"(?:[^"\\]|\\.)*";?\s*$)*)', text, re.MULTILINE
    ).group(1)
    return ''.join(ast.literal_eval(line.strip().rstrip(';')) for line in literals.splitlines())


def test_sources():
    for name in SOURCES:
        found = newer(python_of(name))
        assert not found, '\n'.join('%s:%d: not in Python 3.4: %s' % (name, line, what) for line, what in found)


def test_what_is_newer_is_found():
    with open(os.path.join(ROOT, SOURCES[0])) as f:
        good = f.read()
    for line in (
        'import _signal',
        'import enum34',
        'import os\nos.scandir(".")',
        'f"{1}"',
        'x: int = 1',
        'async def f(): pass',
        '1_000',
        'b"%d" % 1',
        '{**{}}',
        '[*[]]',
        'b"".hex()',
        'def f(a, /): pass',
        '__import__("contextvars")',
        'import time\ntime.time_ns()',
    ):
        assert newer(good + '\n' + line + '\n'), 'not found: ' + line
    guard = 'try:\n    import _signal\nexcept ImportError:\n    import signal as _signal\n_signal.signal(_signal.SIGINT, _signal.SIG_DFL)\n'
    assert not newer(guard), newer(guard)


def main():
    bad = 0
    for name, function in sorted(globals().items()):
        if not name.startswith('test_') or sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        try:
            function()
            print('ok   ' + name)
        except AssertionError as failure:
            bad += 1
            print('FAIL %s\n     %s' % (name, str(failure).replace('\n', '\n     ')))
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
