"""machine.py - a virtual machine from what make-disk left in a folder: boot it, run commands in it,
end it.

The disk is an overlay over disk.img, which stays as it was made. The only way in is ssh on a port
of the loopback interface; the way out is QEMU's own network, which needs no privileges."""
import os
import shutil
import socket
import subprocess
import tarfile
import time

BOOT_SECONDS = {'kvm': 180, 'tcg': 1500}
FIRST_WORD_SECONDS = 20  # a kernel that runs natively says something within a second


class Failed(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Machine:
    def __init__(self, folder, network='', memory=2048, processors=2):
        self.folder, self.network, self.memory, self.processors = folder, network, memory, processors
        self.accelerator, self.process, self.port = None, None, free_port()
        self.disk = self.path('disk.qcow2')

    def path(self, name):
        return os.path.join(self.folder, name)

    # ------------------------------------------------------------------------------------------ life
    def new_disk(self):
        if os.path.exists(self.disk):
            os.unlink(self.disk)
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', self.path('disk.img'), self.disk], check=True
        )

    def start(self, accelerator=None):
        """Boot: with KVM where a guest really boots with it, else in software emulation."""
        for self.accelerator in [accelerator] if accelerator else ['kvm', 'tcg']:
            if self.accelerator == 'kvm' and not os.access('/dev/kvm', os.R_OK | os.W_OK):
                continue
            self.launch()
            if self.speaks():
                return self
            self.kill()
        raise Failed('no guest boots here; QEMU says: ' + self.text('qemu.log')[-1500:])

    def launch(self):
        console = self.path('console.log')
        if os.path.exists(console):
            os.unlink(console)
        # tcg: a host thread for each processor; four levels of page tables are cheaper to walk in
        # software.
        how = (
            ['-accel', 'kvm', '-cpu', 'host']
            if self.accelerator == 'kvm'
            else ['-accel', 'tcg,thread=multi,tb-size=1024', '-cpu', 'max,la57=off']
        )
        self.process = subprocess.Popen(
            [
                'qemu-system-x86_64',
                '-machine',
                'q35',
                *how,
                '-smp',
                str(self.processors),
                '-m',
                str(self.memory),
                '-kernel',
                self.path('vmlinuz'),
                '-initrd',
                self.path('initrd.img'),
                '-append',
                'root=/dev/vda rw console=ttyS0 panic=-1',
                '-drive',
                'file=%s,if=virtio,format=qcow2,cache=unsafe' % self.disk,
                '-netdev',
                'user,id=n,hostfwd=tcp:127.0.0.1:%d-:22%s' % (self.port, self.network),
                '-device',
                'virtio-net-pci,netdev=n,romfile=',
                '-device',
                'virtio-rng-pci',
                '-display',
                'none',
                '-serial',
                'file:' + console,
            ],
            stdin=subprocess.DEVNULL,
            stdout=open(self.path('qemu.log'), 'ab'),
            stderr=subprocess.STDOUT,
        )

    def text(self, name):
        if not os.path.exists(self.path(name)):
            return ''
        with open(self.path(name), errors='replace') as f:
            return f.read()

    def speaks(self):
        """The kernel's first words: with a processor that offers KVM and cannot do it, they never
        come."""
        end = time.monotonic() + FIRST_WORD_SECONDS * (1 if self.accelerator == 'kvm' else 10)
        while time.monotonic() < end and self.process.poll() is None:
            if 'Linux version' in self.text('console.log'):
                return True
            time.sleep(0.2)
        return False

    def wait(self):
        """Until ssh answers and the boot is over."""
        end = time.monotonic() + BOOT_SECONDS[self.accelerator]
        while self.ssh('true', quiet=True)[0] != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed('no ssh; the console ends:\n' + self.text('console.log')[-3000:])
            time.sleep(1)
        self.ssh('systemctl is-system-running --wait', quiet=True)
        return self

    def reboot(self):
        before = self.run('cat /proc/sys/kernel/random/boot_id')
        self.ssh('sudo systemctl reboot', quiet=True)
        end = time.monotonic() + BOOT_SECONDS[self.accelerator]
        while True:
            status, text = self.ssh('cat /proc/sys/kernel/random/boot_id', quiet=True)
            if status == 0 and text != before:
                return self.wait()
            if time.monotonic() > end:
                raise Failed('did not come back; the console ends:\n' + self.text('console.log')[-3000:])
            time.sleep(1)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.ssh('sudo systemctl poweroff', quiet=True)
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    # -------------------------------------------------------------------------------------- commands
    def ssh_command(self, user='op'):
        # One connection carries all commands: in emulation each greeting takes a second.
        return [
            'ssh',
            '-q',
            '-o',
            'ControlMaster=auto',
            '-o',
            'ControlPersist=600',
            '-o',
            'ControlPath=' + self.path('ssh'),
            '-i',
            self.path('key'),
            '-p',
            str(self.port),
            '-o',
            'BatchMode=yes',
            '-o',
            'StrictHostKeyChecking=no',
            '-o',
            'UserKnownHostsFile=/dev/null',
            '-o',
            'ConnectTimeout=30',
            '-o',
            'ServerAliveInterval=30',
            '-o',
            'ServerAliveCountMax=20',
            user + '@127.0.0.1',
        ]

    def ssh(self, command, quiet=False, data=None):
        """(status, what it printed) of a shell command as user op; its lines are shown as they come
        unless QUIET."""
        process = subprocess.Popen(
            self.ssh_command() + [command],
            stdin=subprocess.PIPE if data else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if data:
            data(process.stdin)
            process.stdin.close()
        lines = []
        for raw in process.stdout:
            lines.append(raw.decode(errors='replace'))
            if not quiet:
                print('    ' + lines[-1].rstrip('\n'), flush=True)
        return process.wait(), ''.join(lines)

    def shell(self):
        return Shell(self.ssh_command())

    def run(self, command, quiet=True):
        status, text = self.ssh(command, quiet)
        if status != 0:
            raise Failed('%s: status %d: %s' % (command, status, text[-2000:]))
        return text

    def send(self, path, name):
        """A file or folder of this machine, as NAME in the guest's home folder."""

        def write(stream):
            with tarfile.open(fileobj=stream, mode='w|') as archive:
                archive.add(path, name)

        status, text = self.ssh('tar -xf -', True, write)
        if status != 0:
            raise Failed('cannot send %s: %s' % (path, text))

    def clean(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Shell:
    """One shell of user op for many commands, as at a terminal: what is set stays set."""

    END = 'the-command-has-ended'

    def __init__(self, command):
        self.process = subprocess.Popen(
            command + ['bash'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def type(self, command):
        """(status, what it printed); its lines are shown as they come."""
        text = '{ %s\n} </dev/null\nended=$?; echo; echo %s $ended\n' % (command, self.END)
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()
        lines = []
        for raw in self.process.stdout:
            line = raw.decode(errors='replace')
            if line.startswith(self.END):
                return int(line.split()[1]), ''.join(lines)
            lines.append(line)
            if line.strip():
                print('    ' + line.rstrip('\n'), flush=True)
        raise Failed('the shell ended during: ' + command)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
