"""A short run of the fault harness; `make chaos CHAOS_SECONDS=900` is the long one."""
import json
import os
import subprocess

import harness
from harness import check


def test_ninety_seconds(t):
    if os.getuid() != 0:
        raise harness.Skip('needs root')
    done = subprocess.run(
        [os.path.join(harness.ROOT, 'tools/chaos'), '--seconds', '90', '--seed', os.environ.get('CHAOS_SEED', '1')],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
    )
    text = done.stdout.decode(errors='replace')
    check(done.returncode == 0, text[-6000:])
    with open(os.path.join(harness.BUILD, 'chaos.json')) as f:
        figures = json.load(f)
    check(figures['events'] > 1000 and figures['kills']['listenerd'] > 15, text[-3000:])


if __name__ == '__main__':
    harness.main()
