# network.py - anything but TCP to the seven ports and DNS to the resolvers. Stdin says where
# somebody listens, so that a refusal means the wall and not an empty place: {"hosts": [...], "tcp":
# [...], "udp": [...], "neighbours": [...], "neighbour_tcp": [...], "forbidden": [...], "skip_udp":
# [ports that are meant to be open]}.
from concurrent.futures import ThreadPoolExecutor

OPEN = {80, 443, 21, 22, 25, 587, 465}
WAIT = 0.7
want = wants()


def gateways():
    found = []
    try:
        for line in open('/proc/net/route').read().splitlines()[1:]:
            words = line.split()
            if words[1] == '00000000':
                found.append(socket.inet_ntoa(struct.pack('<I', int(words[2], 16))))
    except (OSError, IndexError):
        pass
    return found


def family(host):
    return socket.AF_INET6 if ':' in host else socket.AF_INET


def tcp(host, port, options=()):
    with socket.socket(family(host)) as s:
        s.settimeout(WAIT)
        for level, name, value in options:
            s.setsockopt(level, name, value)
        s.connect((host, port))
        s.send(b'x')


def udp(host, port):
    with socket.socket(family(host), socket.SOCK_DGRAM) as s:
        s.settimeout(WAIT)
        s.sendto(b'attack', (host, port))
        s.recvfrom(100)


def tcp_fast_open(host, port):
    with socket.socket(family(host)) as s:
        s.settimeout(WAIT)
        s.sendto(b'attack', 0x20000000, (host, port))
        s.getpeername()
        s.recv(1)


def mptcp(host, port):
    with socket.socket(family(host), socket.SOCK_STREAM, 262) as s:
        s.settimeout(WAIT)
        s.connect((host, port))


def from_port(host, port, own):
    """A source port one would trust."""
    with socket.socket(family(host)) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('', own))
        s.settimeout(WAIT)
        s.connect((host, port))


def ping(host):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            with socket.socket(socket.AF_INET, kind, 1) as s:
                s.settimeout(WAIT)
                s.sendto(bytes([8, 0, 0xF7, 0xFF, 0, 0, 0, 0]), (host, 0))
                s.recvfrom(100)
                return
        except OSError:
            pass
    raise OSError('no')


def udp_connected(host, port):
    """connect, then another protocol's clothes: as DNS."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as s:
        s.settimeout(WAIT)
        try:
            s.bind(('', 53))
        except OSError:
            pass
        s.connect((host, port))
        s.send(b'\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01')
        s.recv(100)


def listen_for(host):
    """Let ourselves be called: a listening port that others can reach would be a way in."""
    with socket.socket() as s:
        if host is not None:
            s.bind((host, 0))
        s.listen(1)


def active_ftp_trick(host):
    """Tell a firewall that reads along that we expect a connection: PORT on the control connection
    of a server that plays along."""
    with socket.create_connection((host, 21), WAIT) as s:
        mine = s.getsockname()[0].replace('.', ',')
        s.sendall(b'PORT %s,117,48\r\n' % mine.encode())
        with socket.socket() as l:
            l.bind(('0.0.0.0', 30000))
            l.listen(1)
            l.settimeout(WAIT)
            l.accept()


def source_route(host, port):
    """Loose source routing by way of the gateway."""
    for gate in gateways():
        route = bytes([131, 7, 4]) + socket.inet_aton(host) + b'\0'
        tcp(gate, port, [(socket.IPPROTO_IP, 4, route)])


def source_route_of_a_packet(host, port):
    """The same by a control message (IP_RETOPTS), which no filter of system calls sees."""
    for gate in gateways():
        route = bytes([131, 7, 4]) + socket.inet_aton(host) + b'\0'
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(WAIT)
            s.sendmsg([b'attack'], [(socket.IPPROTO_IP, 7, route)], 0, (gate, port))
            if s.recv(100):
                return
    raise OSError('no answer')


def from_invented_address(option):
    """Send from an address that is not ours, such as the host's."""
    level, name, kind, address = option
    with socket.socket(kind, socket.SOCK_DGRAM) as s:
        s.setsockopt(level, name, 1)
        s.bind((address, 0))


def routes():
    """(target, gateway, mask) as numbers, of each route."""
    with open('/proc/net/route') as f:
        rows = [line.split() for line in f.read().splitlines()[1:]]
    return [tuple(socket.ntohl(int(row[i], 16)) for i in (1, 2, 7)) for row in rows]


def fill_neighbours():
    """The table of neighbours is one for all namespaces: a thousand places, usually."""
    target, _, mask = next(route for route in routes() if route[1] == 0 and route[2] not in (0, 0xFFFFFFFF))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        for number in range(2, min(300, ~mask & 0xFFFFFFFF)):
            try:
                s.sendto(b'x', (socket.inet_ntoa(struct.pack('>I', target | number)), 80))
            except OSError:
                pass
    with open('/proc/net/arp') as f:
        if len(f.read().splitlines()) < 5:
            raise OSError('the gateway and perhaps ourselves')


def ask_engine(kind, name, record):
    """The engine's own name server: who the neighbours are, and work for nobody's account."""
    question = b'\x12\x34\x01\0\0\1\0\0\0\0\0\0' + b''.join(bytes([len(w)]) + w for w in name.split(b'.'))
    question += b'\0' + struct.pack('>HH', record, 1)
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(3)
        s.connect(('127.0.0.11', 53))
        if kind == socket.SOCK_STREAM:
            question = struct.pack('>H', len(question)) + question
        s.send(question)
        if not s.recv(100):
            raise OSError('no answer')


INVENTED = [
    (0, 15, socket.AF_INET, '192.0.2.77'),  # IP_FREEBIND
    (0, 19, socket.AF_INET, '192.0.2.77'),  # IP_TRANSPARENT
    (41, 78, socket.AF_INET6, '2001:db8::77'),  # IPV6_FREEBIND
    (41, 75, socket.AF_INET6, '2001:db8::77'),  # IPV6_TRANSPARENT
]


def tasks():
    hosts = want.get('hosts', []) + gateways()
    ports = [
        p for p in want.get('tcp', []) + [8080, 3306, 5432, 6379, 2375, 2376, 1883, 8883, 111, 3000] if p not in OPEN
    ]
    for host in dict.fromkeys(hosts):
        for port in ports:
            yield 'tcp to %s port %d' % (host, port), tcp, host, port
        for port in ports[:10]:
            yield 'tcp fast open to %s port %d' % (host, port), tcp_fast_open, host, port
            yield 'mptcp to %s port %d' % (host, port), mptcp, host, port
            yield 'tcp from port 80 to %s port %d' % (host, port), lambda h, p: from_port(h, p, 80), host, port
            yield 'tcp by IPv4 in IPv6 to %s port %d' % (host, port), lambda h, p: tcp('::ffff:' + h, p), host, port
            yield 'tcp source routed to %s port %d' % (host, port), source_route, host, port
        for port in want.get('udp', []) + [p for p in (53, 123, 443, 80) if p not in want.get('skip_udp', [])]:
            yield 'udp to %s port %d' % (host, port), udp, host, port
            yield 'udp source routed to %s port %d' % (host, port), source_route_of_a_packet, host, port
            yield 'udp like DNS to %s port %d' % (host, port), udp_connected, host, port
        yield 'ping ' + host, lambda h, p: ping(h), host, 0
        yield 'active FTP with ' + host, lambda h, p: active_ftp_trick(h), host, 0
    for host in want.get('neighbours', []):
        for port in want.get('neighbour_tcp', []) + sorted(OPEN):
            yield 'tcp to neighbour %s port %d' % (host, port), tcp, host, port
        yield 'udp to neighbour ' + host, udp, host, 53
    for host in want.get('forbidden', []) + [
        '169.254.169.254',
        '127.0.0.1',
        '::1',
        'fd00:ec2::254',
        '100.100.100.200',
        '168.63.129.16',
        '64:ff9b::a9fe:a9fe',
        '0.0.0.0',
        '255.255.255.255',
    ]:
        for port in sorted(OPEN) + ports[:5]:
            yield 'tcp to %s port %d' % (host, port), tcp, host, port


def main():
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda task: attempt(task[0], lambda: task[1](task[2], task[3])), list(tasks())))
    if want.get('listen'):
        attempt('listen for others', lambda: listen_for(''))
        attempt('listen wherever it may be', lambda: listen_for(None))
    attempt('fill the table of neighbours', fill_neighbours)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        for gate in gateways():
            name = b'.'.join(gate.encode().split(b'.')[::-1]) + b'.in-addr.arpa'
            attempt('ask the engine who %s is' % gate, lambda: ask_engine(kind, name, 12))
        attempt('ask the engine for a name', lambda: ask_engine(kind, b'localhost.example', 1))
    for option in INVENTED:
        what = 'send from %s by option %d of level %d' % (option[3], option[1], option[0])
        attempt(what, lambda: from_invented_address(option))
    end()


main()
