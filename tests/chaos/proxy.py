"""proxy.py - the network between broker and listener: passes bytes on, can be cut, and writes down
what was said on the wire.

    proxy.py PORT BROKER_PORT FILE [clear-dup]  commands on stdin: "cut SECONDS", "stall SECONDS"

cut: connections are reset and refused for so long. stall: nothing passes for so long, then
connections are reset. FILE gets a line per publication that the listener acknowledged: time,
connection, packet id, DUP, digest of topic and payload. It is written when the acknowledgement
arrives here, whether or not it reaches the broker: what counts is that the listener gave it.

clear-dup: publications pass without their DUP flag, as some brokers send them."""
import asyncio
import hashlib
import socket
import struct
import sys
import time


def digest(topic, payload):
    return hashlib.sha256(topic + b'\0' + payload).hexdigest()[:16]


class Packets:
    """MQTT 3.1.1 packets out of a stream of bytes."""

    def __init__(self):
        self.data = bytearray()

    def feed(self, data):
        self.data += data
        while True:
            size, shift, at = 0, 0, 1
            while True:
                if at >= len(self.data):
                    return
                size |= (self.data[at] & 0x7F) << shift
                shift += 7
                at += 1
                if not self.data[at - 1] & 0x80:
                    break
            if len(self.data) < at + size:
                return
            yield self.data[0], bytes(self.data[at : at + size])
            del self.data[: at + size]


class Wire:
    def __init__(self, port, broker_port, name, clear_dup=False):
        self.clear_dup = clear_dup
        self.port, self.broker_port, self.file = port, broker_port, open(name, 'a', buffering=1)
        self.refuse_until, self.stalled, self.connections, self.links = 0, False, 0, set()

    async def serve(self):
        server = await asyncio.start_server(self.accept, '127.0.0.1', self.port)
        print('ready', flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with server:
            while line := await reader.readline():
                word, seconds = line.decode().split()
                asyncio.ensure_future(self.cut(float(seconds)) if word == 'cut' else self.stall(float(seconds)))

    async def cut(self, seconds):
        self.refuse_until = time.monotonic() + seconds
        self.reset_all()

    async def stall(self, seconds):
        self.stalled = True
        await asyncio.sleep(seconds)
        self.reset_all()
        self.stalled = False

    def reset_all(self):
        for writer in list(self.links):
            reset(writer)

    async def accept(self, reader, writer):
        if time.monotonic() < self.refuse_until:
            return reset(writer)
        try:
            broker_reader, broker_writer = await asyncio.open_connection('127.0.0.1', self.broker_port)
        except OSError:
            return reset(writer)
        for stream in (writer, broker_writer):
            stream.get_extra_info('socket').setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links |= {writer, broker_writer}
        self.connections += 1
        seen, number = {}, self.connections
        await asyncio.gather(
            self.pass_on(broker_reader, writer, lambda first, body: self.published(seen, first, body)),
            self.pass_on(reader, broker_writer, lambda first, body: self.acknowledged(seen, number, first, body)),
        )
        self.links -= {writer, broker_writer}
        for stream in (writer, broker_writer):
            stream.close()

    async def pass_on(self, reader, writer, note):
        packets = Packets()
        try:
            while data := await reader.read(65536):
                while self.stalled:
                    await asyncio.sleep(0.02)
                passed = b''
                for first, body in packets.feed(data):
                    note(first, body)
                    if self.clear_dup:
                        passed += packet(first & ~8 if first >> 4 == 3 else first, body)
                writer.write(passed if self.clear_dup else data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            reset(writer)

    @staticmethod
    def published(seen, first, body):
        if first >> 4 != 3 or not first & 6:
            return
        size = int.from_bytes(body[:2], 'big')
        packet = int.from_bytes(body[2 + size : 4 + size], 'big')
        seen[packet] = (first >> 3 & 1, digest(body[2 : 2 + size], body[4 + size :]))

    def acknowledged(self, seen, number, first, body):
        if first >> 4 == 4:
            packet = int.from_bytes(body[:2], 'big')
            dup, content = seen.get(packet, (0, '?'))
            self.file.write('%.6f %d %d %d %s\n' % (time.time(), number, packet, dup, content))


def packet(first, body):
    size, left = b'', len(body)
    while left or not size:
        size += bytes([left % 128 | (128 if left > 127 else 0)])
        left //= 128
    return bytes([first]) + size + body


def reset(writer):
    raw = writer.get_extra_info('socket')
    if raw is not None:
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        except OSError:
            pass
    writer.transport.abort()


if __name__ == '__main__':
    asyncio.run(Wire(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], 'clear-dup' in sys.argv[4:]).serve())
