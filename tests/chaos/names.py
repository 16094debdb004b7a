"""names.py - a name server that can fall silent.

    names.py ADDRESS ANSWER      commands on stdin: "silent SECONDS"

Every name has the address ANSWER, and no IPv6 address."""
import os
import select
import socket
import sys
import time


def answer(query, address):
    """The reply to a query of one question: RFC 1035."""
    at = 12
    while query[at]:
        at += 1 + query[at]
    kind, question = int.from_bytes(query[at + 1 : at + 3], 'big'), query[12 : at + 5]
    record = b'\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04' + socket.inet_aton(address) if kind == 1 else b''
    return query[:2] + b'\x81\x80\x00\x01' + (b'\x00\x01' if record else b'\x00\x00') + bytes(4) + question + record


def main():
    server, silent_until = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0.0
    server.bind((sys.argv[1], 53))
    print('ready', flush=True)
    while True:
        for ready in select.select([server, 0], [], [])[0]:
            if ready == 0:
                words = os.read(0, 100).split()
                if not words:
                    return
                silent_until = time.monotonic() + float(words[1])
                continue
            query, peer = server.recvfrom(4096)
            if time.monotonic() >= silent_until:
                server.sendto(answer(query, sys.argv[2]), peer)


if __name__ == '__main__':
    main()
