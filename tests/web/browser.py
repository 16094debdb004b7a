"""The web pages in a real browser: each view at 1280 and 320 pixels, dark and light, with and
without JavaScript. `make check-web` runs it; the pictures are in build/web-pictures/.

Looked at: that no page is wider than the window, that the browser complains about nothing (a broken
content security policy would be told there), that no script of a stranger runs, that the keyboard
reaches the content first, and that axe finds no violation."""
import base64
import contextlib
import importlib.util
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests/system'))

import harness
from harness import check, equal
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

spec = importlib.util.spec_from_file_location('web', os.path.join(ROOT, 'tests/system/42-web.py'))
web = importlib.util.module_from_spec(spec)
spec.loader.exec_module(web)

PICTURES = os.path.join(harness.BUILD, 'web-pictures')
WIDTHS, SCHEMES = (1280, 320), ('light', 'dark')
VIEWS = {
    'now': '/',
    'scripts': '/scripts',
    'script': '/scripts/a.py',
    'jobs': '/jobs',
    'job': '/jobs/1',
    'events': '/events',
    'explain': '/explain?topic=create/x&script=a.py',
    'explain-all': '/explain?topic=create/x',
    'about': '/about',
    'refused': '/jobs?state=nonsense',
    'nothing': '/nothing',
}


@contextlib.contextmanager
def browser():
    options = Options()
    for word in ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars'):
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options=options, service=Service('/usr/bin/chromedriver'))
    try:
        yield driver
    finally:
        driver.quit()


def look(driver, width, scheme):
    driver.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride', {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': False}
    )
    driver.execute_cdp_cmd(
        'Emulation.setEmulatedMedia', {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]}
    )


def complaints(driver):
    """What the browser says against a page; a status of 400 or 404 is what these pages want."""
    return [entry['message'] for entry in driver.get_log('browser') if 'status of 40' not in entry['message']]


def full_picture(driver, name):
    size = driver.execute_cdp_cmd('Page.getLayoutMetrics', {})['cssContentSize']
    clip = {'x': 0, 'y': 0, 'width': size['width'], 'height': min(size['height'], 6000), 'scale': 1}
    shot = driver.execute_cdp_cmd('Page.captureScreenshot', {'clip': clip, 'captureBeyondViewport': True})
    with open(os.path.join(PICTURES, name + '.png'), 'wb') as f:
        f.write(base64.b64decode(shot['data']))
    return size['width']


def world(t):
    broker, daemon = web.hostile_daemon(t)
    daemon.script('bad.py', 'pass', topic='create/#/x', ready=False)
    daemon.wait_script('bad.py', lambda row: row['state'] == 'refused')
    broker.publish_all([('create/resource/projects/p1/%d.csv' % i, b'{}') for i in range(40)])
    daemon.wait_jobs(42)
    daemon.ctl('pause', 'bad.py', '--reason', web.HOSTILE)
    return 'http://localhost:%d' % web.Web(t, daemon.socket).port


def test_each_view(t):
    os.makedirs(PICTURES, exist_ok=True)
    address = world(t)
    for javascript in (True, False):
        with browser() as driver:
            driver.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': not javascript})
            for width in WIDTHS:
                for scheme in SCHEMES:
                    look(driver, width, scheme)
                    for name, path in VIEWS.items():
                        driver.get(address + path)
                        check('Indigo Listener' in driver.title, '%s: the title is %r' % (path, driver.title))
                        wide = full_picture(
                            driver, '%s-%d-%s-%s' % (name, width, scheme, 'js' if javascript else 'plain')
                        )
                        check(wide <= width, '%s is %d pixels wide in a window of %d' % (path, wide, width))
                        equal(complaints(driver), [], path)
                        if path == '/jobs' and width == WIDTHS[0]:
                            row = driver.find_element(By.CSS_SELECTOR, 'tbody tr')
                            check(row.size['height'] < 40, 'a row of short texts is %s high' % row.size['height'])


def test_keyboard(t):
    """The first stop leads past the menu, and whatever has the focus shows it."""
    address = world(t)
    with browser() as driver:
        look(driver, 1280, 'light')
        driver.get(address + '/jobs')
        driver.find_element(By.TAG_NAME, 'body').send_keys(Keys.TAB)
        first = driver.switch_to.active_element
        equal((first.text, first.is_displayed()), ('To the content', True))
        style = driver.execute_script('return getComputedStyle(document.activeElement).outlineStyle')
        equal(style, 'solid', 'the outline of what has the focus')
        first.send_keys(Keys.ENTER)
        check(driver.current_url.endswith('#main'), driver.current_url)


def axe(t):
    """axe-core's one file, of npm."""
    done = subprocess.run(
        ['npm', 'pack', '--silent', 'axe-core@4'],
        cwd=t.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise harness.Skip('npm gives no axe-core: ' + done.stderr.strip()[-300:])
    archive = os.path.join(t.folder, done.stdout.split()[-1])
    subprocess.run(['tar', '-xf', archive, '-C', t.folder, 'package/axe.min.js'], check=True)
    with open(os.path.join(t.folder, 'package/axe.min.js')) as f:
        return f.read()


def test_accessibility(t):
    source, address = axe(t), world(t)
    faults = []
    with browser() as driver:
        for width in WIDTHS:
            for scheme in SCHEMES:
                look(driver, width, scheme)
                for name, path in VIEWS.items():
                    driver.get(address + path)
                    driver.execute_script(source)
                    result = driver.execute_async_script('axe.run().then(arguments[arguments.length - 1])')
                    faults += [
                        '%s %d %s: %s: %s' % (path, width, scheme, fault['id'], fault['nodes'][0]['html'][:200])
                        for fault in result['violations']
                    ]
    equal(faults, [], 'violations')


if __name__ == '__main__':
    harness.main()
