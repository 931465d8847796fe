"""A real browser: chromium without a window, driven through chromium-driver, and what it complains of."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

APT = 'DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver'


def find_chromium():
    """Paths of browser and driver, or why there are none; a CI run as root on Debian installs them."""
    wanted = ('chromium', 'chromedriver')
    root = hasattr(os, 'geteuid') and os.geteuid() == 0
    if None in map(shutil.which, wanted) and 'CI' in os.environ and root and shutil.which('apt-get'):
        subprocess.run(f'apt-get update -qq && {APT}', shell=True, capture_output=True, timeout=250)
    missing = [name for name in wanted if not shutil.which(name)]
    if missing:
        return None, f'{", ".join(missing)} not on PATH; on Debian: apt install chromium chromium-driver'
    return tuple(map(shutil.which, wanted)), ''


class Browser:
    """One window, with what happened in it since the last page was opened."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, page, width=1280, height=900, dark=False):
        scheme = [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]
        self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': scheme})
        metrics = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 640}
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
        self.messages(), self.requests()  # those of the page before
        self.driver.get(Path(page).resolve().as_uri())
        # a new size takes effect with the next frame; until then a page may be 0 pixels wide
        self.driver.execute_async_script('requestAnimationFrame(() => requestAnimationFrame(arguments[0]))')
        return self

    def js(self, expression, *arguments):
        return self.driver.execute_script(f'return {expression}', *arguments)

    def click(self, selector):
        self.driver.execute_script('document.querySelector(arguments[0]).click()', selector)

    def choose(self, name, value):
        self.driver.execute_script(
            'const s = document.getElementById("controls").elements[arguments[0]]; s.value = arguments[1];'
            's.dispatchEvent(new Event("change", {bubbles: true}))',
            name,
            value,
        )

    def messages(self):
        return [entry['message'] for entry in self.driver.get_log('browser')]

    def requests(self):
        """Addresses that were asked for, the parts of the page itself left out."""
        events = [json.loads(entry['message'])['message'] for entry in self.driver.get_log('performance')]
        urls = [e['params']['request']['url'] for e in events if e['method'] == 'Network.requestWillBeSent']
        return [url for url in urls if not url.startswith('data:')]

    def shot(self, path, whole=True):
        size = self.driver.execute_cdp_cmd('Page.getLayoutMetrics', {})['cssContentSize']
        clip = {'x': 0, 'y': 0, 'width': size['width'], 'height': min(size['height'], 12000), 'scale': 1}
        options = {'captureBeyondViewport': True, 'clip': clip} if whole else {}
        data = self.driver.execute_cdp_cmd('Page.captureScreenshot', {'format': 'png', **options})['data']
        Path(path).write_bytes(base64.b64decode(data))

    def pdf(self, path):
        data = self.driver.execute_cdp_cmd(
            'Page.printToPDF', {'printBackground': True, 'paperWidth': 8.27, 'paperHeight': 11.69}
        )
        Path(path).write_bytes(base64.b64decode(data['data']))


@pytest.fixture(scope='session')
def browser():
    webdriver = pytest.importorskip('selenium.webdriver')
    found, problem = find_chromium()
    if found is None:
        pytest.skip(problem)
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for argument in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--hide-scrollbars'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1]))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope='session')
def artefacts(tmp_path_factory):
    """Where screenshots are kept: the folder that MMDEL_ARTEFACTS names, else a temporary one."""
    folder = Path(os.environ.get('MMDEL_ARTEFACTS') or tmp_path_factory.mktemp('artefacts'))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
