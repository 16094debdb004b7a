"""Real servers on all seven ports, in a network namespace that plays the outside world, reached
from a sandbox by Python's standard library; and all else closed."""
import json
import os
import shutil

import debian
import harness
import world as worlds
from harness import Skip, check, equal

ATTACKS = os.path.join(harness.ROOT, 'tests/attacks')
CLIENT = r'''
import base64, ftplib, http.client, json, smtplib, socket, ssl, sys, urllib.request
want = json.load(sys.stdin)
host = want['host']
context = ssl.create_default_context(cadata=want['certificate'])
seen = {}


def step(name, function):
    try:
        seen[name] = function()
    except Exception as e:
        seen[name] = '%s: %s' % (type(e).__name__, e)


def http_80():
    return urllib.request.urlopen('http://%s/hello.txt' % host, timeout=5).read().decode().strip()


def https_443():
    c = http.client.HTTPSConnection(host, 443, timeout=5, context=context)
    c.request('GET', '/hello.txt')
    return c.getresponse().read().decode().strip()


def ssh_22():
    with socket.create_connection((host, 22), 5) as s:
        banner = s.makefile('rb').readline().decode().strip()
        s.sendall(b'SSH-2.0-script\r\n')
        packet = s.recv(4096)  # the server's offer of algorithms: KEXINIT
        return '%s %s' % (banner.split('-')[0] + '-' + banner.split('-')[1], b'curve25519' in packet)


def smtp(port, tls):
    c = (smtplib.SMTP_SSL(host, port, timeout=5, context=context) if tls == 'implicit' else smtplib.SMTP(host, port, timeout=5))
    if tls == 'starttls':
        c.starttls(context=context)
    refused = c.sendmail('script@sandbox.test', ['archivist@server.test'], 'Subject: hello\r\n\r\nhello\r\n')
    version = c.sock.version() if tls else ''
    c.quit()
    return '%s %r' % ('TLS' if version else 'plain', refused)


def ftp_control():
    c = ftplib.FTP()
    c.connect(host, 21, 5)
    c.login()
    answer = c.pwd()
    c.quit()
    return answer


def ftp_data():
    c = ftplib.FTP()
    c.connect(host, 21, 3)
    c.login()
    lines = []
    c.retrlines('RETR hello.txt', lines.append)
    c.quit()
    return lines[0]


step('dns', lambda: socket.gethostbyname('server.test'))
step('80', http_80)
step('443', https_443)
step('21', ftp_control)
step('ftp data', ftp_data)
step('22', ssh_22)
step('25', lambda: smtp(25, ''))
step('587', lambda: smtp(587, 'starttls'))
step('465', lambda: smtp(465, 'implicit'))
print(json.dumps(seen))
'''


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise Skip('not installed: ' + ' '.join(missing))


def put(folder, name, text, mode=0o644):
    path = os.path.join(folder, name)
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, mode)
    return path


class Servers:
    def __init__(self, world):
        self.world, self.folder = world, os.path.join(world.folder, 'servers')
        self.files = os.path.join(self.folder, 'files')
        os.makedirs(self.files)
        os.chmod(self.world.t.folder, 0o755)
        put(self.files, 'hello.txt', 'hello from outside\n')
        self.make_certificate()
        for start in (self.nginx, self.vsftpd, self.sshd, self.exim):
            start()
        for port in (80, 443, 21, 22, 25, 587, 465):
            worlds.wait_port(world, port)

    def make_certificate(self):
        self.key, self.certificate = (os.path.join(self.folder, n) for n in ('key.pem', 'certificate.pem'))
        self.world.run(
            'openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=server.test -addext subjectAltName=DNS:server.test,IP:%s '
            '-keyout %s -out %s' % (worlds.OUTSIDE, self.key, self.certificate)
        )
        os.chmod(self.key, 0o644)  # a key of a test's, for servers of several users

    def nginx(self):
        conf = put(
            self.folder,
            'nginx.conf',
            '''daemon off; worker_processes 1; pid %(f)s/nginx.pid; error_log stderr; user www-data;
events { worker_connections 64; }
http { access_log off; root %(f)s/files;
  client_body_temp_path %(f)s/b; proxy_temp_path %(f)s/p; fastcgi_temp_path %(f)s/c; uwsgi_temp_path %(f)s/u; scgi_temp_path %(f)s/s;
  server { listen 80; listen 443 ssl; ssl_certificate %(c)s; ssl_certificate_key %(k)s; } }
'''
            % {'f': self.folder, 'c': self.certificate, 'k': self.key},
        )
        self.world.debian('nginx', '-c', conf, '-p', self.folder)

    def vsftpd(self):
        empty = os.path.join(self.folder, 'empty')
        os.mkdir(empty, 0o755)
        conf = put(
            self.folder,
            'vsftpd.conf',
            '''listen=YES
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root=%s
secure_chroot_dir=%s
pasv_enable=YES
port_enable=NO
pasv_min_port=40000
pasv_max_port=40100
seccomp_sandbox=NO
xferlog_enable=NO
'''
            % (self.files, empty),
            0o600,
        )
        self.world.debian('vsftpd', conf)

    def sshd(self):
        key = os.path.join(self.folder, 'host_key')
        self.world.run('ssh-keygen -q -t ed25519 -N "" -f ' + key)
        conf = put(
            self.folder,
            'sshd_config',
            'Port 22\nHostKey %s\nPidFile none\nUsePAM no\nPasswordAuthentication no\n' % key,
        )
        self.world.debian('sh', '-c', 'mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f ' + conf)

    def exim(self):
        spool = os.path.join(self.folder, 'spool')
        os.mkdir(spool)
        conf = put(
            self.folder,
            'exim.conf',
            '''spool_directory = %(s)s
log_file_path = %(s)s/%%slog
pid_file_path = %(s)s/pid
primary_hostname = server.test
daemon_smtp_ports = 25 : 465 : 587
tls_on_connect_ports = 465
tls_advertise_hosts = *
tls_certificate = %(c)s
tls_privatekey = %(k)s
domainlist local_domains = server.test
acl_smtp_rcpt = accept
acl_smtp_data = accept
host_lookup =
rfc1413_query_timeout = 0s
queue_only = true
begin acl
accept:
  accept
begin routers
all:
  driver = redirect
  data = :blackhole:
begin transports
begin retry
'''
            % {'s': spool, 'c': self.certificate, 'k': self.key},
        )
        self.world.debian('sh', '-c', 'chown Debian-exim:Debian-exim %s && exec exim4 -C %s -bdf' % (spool, conf))


PACKAGES = ('nginx-light', 'vsftpd', 'openssh-server', 'exim4-daemon-light')
PROGRAMS = ('openssl', 'ip', 'nsenter', 'dockerd')


def set_up(t, **docker):
    need(*PROGRAMS)
    debian.install(*PACKAGES)  # before the world begins: it has no way to the mirror
    world = worlds.World(t)
    worlds.Resolver(world)
    servers = Servers(world)
    broker = t.broker()
    daemon = t.listener(
        broker,
        docker=dict({'socket': world.socket, 'dns': worlds.OUTSIDE}, **docker),
        ini={'limits': {'timeout_max': '4min'}},
    ).start()
    return world, servers, broker, daemon


def ask(servers, broker, daemon, number=0):
    if number == 0:
        daemon.script('client.py', CLIENT, topic='create/resource/client/#', output='capture', timeout='60s')
    with open(servers.certificate) as f:
        broker.publish(
            'create/resource/client/%d' % number, json.dumps({'host': worlds.OUTSIDE, 'certificate': f.read()}).encode()
        )
    daemon.wait_jobs(number + 1, 120)
    job = daemon.all_jobs()[-1]
    equal(job['outcome'], 'success', job['message'])
    return json.loads(daemon.output(job['id']).decode())


REACHED = {
    'dns': worlds.OUTSIDE,
    '80': 'hello from outside',
    '443': 'hello from outside',
    '21': '/',
    '22': 'SSH-2.0 True',
    '25': 'plain {}',
    '587': 'TLS {}',
    '465': 'TLS {}',
}


def test_seven_ports_and_nothing_else(t):
    world, servers, broker, daemon = set_up(t)
    seen = ask(servers, broker, daemon)
    data = seen.pop('ftp data')
    equal(seen, REACHED)
    check(data != 'hello from outside', 'FTP data came through though ftp_data is off')
    everything_else_is_closed(t, world, broker, daemon)


def test_ftp_data_related(t):
    world, servers, broker, daemon = set_up(t, ftp_data='related')
    seen = ask(servers, broker, daemon)
    data = seen.pop('ftp data')
    equal(seen, REACHED)
    equal(data, 'hello from outside', 'FTP data with ftp_data = related')
    everything_else_is_closed(t, world, broker, daemon)


def everything_else_is_closed(t, world, broker, daemon):
    closed = worlds.Outside(world)
    text = ''.join(open('%s/%s.py' % (ATTACKS, part)).read() for part in ('attack', 'network'))
    daemon.script('network.py', text, topic='create/resource/attack', output='capture', timeout='4min')
    broker.publish(
        'create/resource/attack',
        json.dumps(
            {
                'hosts': [worlds.OUTSIDE, worlds.INSIDE],
                'tcp': closed.tcp,
                'udp': closed.udp,
                'listen': True,
                'skip_udp': [53],
            }
        ).encode(),
    )
    job = daemon.wait_jobs(2, 300)[-1]
    equal(job['outcome'], 'success', job['message'])
    output = daemon.output(job['id']).decode()
    through = [line for line in output.splitlines() if line.startswith('THROUGH')]
    check(not through and 'attempts=' in output, '\n'.join(through[:40]) or output[-500:])


if __name__ == '__main__':
    harness.main()
