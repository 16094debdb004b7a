"""publisher.py - publishes a plan and writes down what became of each message.

    publisher.py PORT PLAN FILE

PLAN has lines of JSON: {"at": seconds from the start, "topic", "payload", "qos"}. FILE gets one for
each: its number, when, and what is known of it: "sent" (QoS 0: handed to the network), "taken" (QoS
1: the broker acknowledged it) or "unknown" (the connection broke first). Nothing is ever sent
twice; what cannot be sent because the broker is away waits."""
import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../system'))
import harness  # noqa: E402


def connect(port):
    while True:
        try:
            return harness.Publisher(port, 'chaos-publisher')
        except (OSError, harness.Failed):
            time.sleep(0.05)


def main():
    port, plan, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    publisher, began = None, time.monotonic()
    with open(plan) as lines, open(name, 'w', buffering=1) as out:
        for number, line in enumerate(lines):
            message = json.loads(line)
            time.sleep(max(0, began + message['at'] - time.monotonic()))
            publisher = publisher or connect(port)
            sent = time.time()
            try:
                publisher.publish(message['topic'], message['payload'], message['qos'])
                known = 'taken' if message['qos'] else 'sent'
            except (OSError, harness.Failed):
                publisher, known = None, 'unknown'
            out.write(json.dumps({'number': number, 'at': sent, 'until': time.time(), 'known': known}) + '\n')


if __name__ == '__main__':
    main()
