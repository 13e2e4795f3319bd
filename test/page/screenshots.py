"""Takes pictures of a node's page in a headless Chromium: page-light.png and page-dark.png.

usage: screenshots.py URL DIRECTORY
"""

import os
import shutil
import sys

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

URL, DIRECTORY = sys.argv[1:]
WIDTH = 1200

options = webdriver.ChromeOptions()
for option in ["--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en"]:
    options.add_argument(option)
if os.geteuid() == 0:
    options.add_argument("--no-sandbox")
browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
try:
    for scheme in ["light", "dark"]:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        browser.get(URL)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": WIDTH, "height": 800, "deviceScaleFactor": 1, "mobile": False})
        WebDriverWait(browser, 20).until(lambda _: browser.execute_script("""
            return document.querySelector("#state").textContent.includes("current")
              && document.querySelector("#rows tr") && document.querySelector("#nodes tr")
              && document.querySelector("#lag-events .curve")"""))
        height = browser.execute_script("return document.documentElement.scrollHeight")
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False})
        browser.save_screenshot(os.path.join(DIRECTORY, f"page-{scheme}.png"))
finally:
    browser.quit()
