# sibling.py - leave the fork server children that it did not make: who waits for them?
def clone():
    if syscall({'x86_64': 56}.get(MACHINE, 220), 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


for _ in range(40):
    attempt('a child of our parent', clone)
end()
