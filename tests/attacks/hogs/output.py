# A gigabyte on stdout and on stderr.
import os

block = b'x' * (1 << 20)
for _ in range(1024):
    os.write(1, block)
    os.write(2, block)
