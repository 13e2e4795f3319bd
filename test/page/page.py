"""What a person does with the operator's page of a node, in a headless Chromium.

usage: page.py URL DIRECTORY [control | uncontrolled [TEST...]]

The URL may hold a user and a password. Screenshots go into the directory. The node has the static
domain static.example and the host types type1, type2 and <b>type3</b>; the tests add domains by its
API. With `control' whoever runs this does what a line on standard output asks for, and answers by a line
on standard input when that is done: stops and starts the node's HTTP server (`please stop', `please
start'), adds a node to the cluster, lets it hang, takes it away (`add_node', `hang_node', `remove_node'),
takes a table from the database and gives it back (`break_database', `mend_database'), writes a row with a
name that can never route (`write_row').
"""

import base64
import json
import os
import re
import shutil
import sys
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from selenium import webdriver
from selenium.common.exceptions import (NoSuchElementException, StaleElementReferenceException,
                                        TimeoutException)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

GIVEN_URL, DIRECTORY = sys.argv[1].rstrip("/"), sys.argv[2]
CONTROLLED = sys.argv[3:4] == ["control"]
TESTS = sys.argv[4:]

SCHEME, _, AUTHORITY = GIVEN_URL.partition("://")
CREDENTIALS, _, ADDRESS = AUTHORITY.rpartition("@")
URL = f"{SCHEME}://{ADDRESS}"
# Names below example are those of this machine; the tests themselves ask by the address.
ASKED = re.sub(r"//[\w.]+\.example\b", "//127.0.0.1", URL)

STATIC = "static.example"
MARKUP = "<b>type3</b>"
FILLED = [f"filled{number:03}.example" for number in range(120)]
LONG = ".".join(["l" * 59] * 4) + ".example"
HOSTILE = "<img/src=x/onerror=window.ran=1>.example"

# Runs before the scripts of the page, and is no part of it.
WITNESS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""

# The contrast (WCAG 2, 1.4.3) of each visible text with what is behind it, the lowest first.
CONTRASTS = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b]
  .map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
function behind(element) {
  for (let at = element; at; at = at.parentElement) {
    const colour = channels(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
}
return [...document.querySelectorAll("body *")]
  .filter((each) => each.checkVisibility() && !each.matches(":disabled, option")
    && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .map((each) => {
    const [a, b] = [channels(getComputedStyle(each).color), behind(each)].map(luminance);
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.textContent.slice(0, 60)];
  })
  .sort(([a], [b]) => a - b);
"""


def api(method, path, body=None):
    """The code and the JSON of an answer."""
    headers = {"Content-Type": "application/json"}
    if CREDENTIALS:
        headers["Authorization"] = "Basic " + base64.b64encode(CREDENTIALS.encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ASKED + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def path_of(domain):
    return "/api/domains/" + urllib.parse.quote(domain, safe="")


def add(domain, host_type="type1"):
    code, answer = api("PUT", path_of(domain), {"host_type": host_type})
    assert code == 204, (domain, code, answer)


def remove(domain):
    """Also one that is not there."""
    code, details = api("GET", path_of(domain))
    if code == 200:
        api("DELETE", path_of(domain), {"host_type": details["host_type"]})


def setUpModule():
    """One browser for all tests."""
    for domain in FILLED:
        add(domain, "type2")
    options = webdriver.ChromeOptions()
    for option in ["--headless=new", "--window-size=1280,1000", "--disable-dev-shm-usage",
                   "--hide-scrollbars", "--host-resolver-rules=MAP *.example 127.0.0.1", "--disable-background-networking", "--lang=en"]:
        options.add_argument(option)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The distribution's own driver; selenium would look for one in the network.
    driver = Service(shutil.which("chromedriver"))
    PageTest.browser = webdriver.Chrome(options=options, service=driver)
    PageTest.cdp("Page.addScriptToEvaluateOnNewDocument", source=WITNESS)
    # From now on the browser knows a password, as when a person has typed it.
    PageTest.browser.get(GIVEN_URL + "/")


def tearDownModule():
    PageTest.browser.quit()


class PageTest(unittest.TestCase):
    """Opens the page, desktop size, for each test; after it nothing may have gone wrong in there."""

    @classmethod
    def cdp(cls, command, **parameters):
        return cls.browser.execute_cdp_cmd(command, parameters)

    def setUp(self):
        self.open()

    def tearDown(self):
        self.assertEqual([], self.run_script("return window.violations"), "against the CSP")
        self.assertIsNone(self.run_script("return window.ran"), "a script that a name holds has run")
        # A refused request is noted there, too, and is no error of the page.
        self.assertEqual([], [entry for entry in self.browser.get_log("browser")
                              if not (entry["source"] == "network" and "/api/" in entry["message"])])
        self.assertEqual([], [url for url in self.requested_urls()
                              if not url.startswith((URL + "/", GIVEN_URL + "/"))], "asked of others")
        self.emulate()

    def requested_urls(self):
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                yield message["params"]["request"]["url"]

    # What a person does

    def open(self, path="/"):
        self.browser.get(URL + path)
        if path == "/":
            self.until(lambda: self.text("state") and self.text("page"))

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def type_into(self, field, text):
        self.find(f"#{field}").clear()
        self.find(f"#{field}").send_keys(text)

    def choose_file(self, text, name="domains.csv"):
        path = os.path.join(DIRECTORY, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        self.find("#import-file").send_keys(path)

    def import_file(self, text, name="domains.csv"):
        """As a dry run first, which returns what that said, then in earnest."""
        self.choose_file(text, name)
        self.click("#import-try")
        tried = self.until(lambda: self.text("imported"))
        self.click("#import-run")
        self.until(lambda: self.text("imported") not in ("", tried))
        return tried

    def rejected_file(self, name):
        """What a person finds in the directory for downloads."""
        path = os.path.join(DIRECTORY, name)
        if os.path.exists(path):
            os.remove(path)
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=DIRECTORY)
        self.click("#import-rejects")
        # An empty file has its name until all is there, and is replaced then.
        self.until(lambda: os.path.exists(path) and os.path.getsize(path) > 0)
        with open(path, encoding="utf-8") as file:
            return file.read()

    def help_of(self, term):
        """The text that describes a term, whether it is seen or not."""
        return self.run_script("""
            const [term] = [...document.querySelectorAll("dfn")]
              .filter((each) => each.textContent === arguments[0]);
            return document.getElementById(term.getAttribute("aria-describedby")).textContent""", term)

    def click(self, selector):
        self.until(lambda: self.find(selector).click() or True)

    def look_up(self, domain):
        self.type_into("look-up-name", domain)
        self.click("#look-up button")

    def add_by_form(self, domain, host_type):
        self.type_into("add-name", domain)
        Select(self.find("#add-host-type")).select_by_visible_text(host_type)
        self.click("#add button")

    def filter(self, host_type="any", status="any"):
        Select(self.find("#filter-host-type")).select_by_visible_text(host_type)
        Select(self.find("#filter-status")).select_by_visible_text(status)
        self.click("#filter button")
        # What a test changes after this must not be missing from the list already.
        self.until(lambda: self.find("#list").get_attribute("aria-busy") is None)

    def click_in_row(self, domain, button):
        self.click(f"#rows [aria-label='{button} {domain}']")

    def press(self, *keys):
        for key in keys:
            webdriver.ActionChains(self.browser).send_keys(key).perform()

    def tab_to(self, selector):
        """By the keyboard; and each stop on the way shows that it has the focus."""
        for _ in range(160):
            self.press(Keys.TAB)
            focused = self.browser.switch_to.active_element
            if focused.tag_name != "body":
                self.assertNotEqual("none", focused.value_of_css_property("outline-style"))
            if self.run_script("return document.activeElement.matches(arguments[0])", selector):
                return
        self.fail(f"no way to {selector} by the keyboard")

    def emulate(self, width=None, scheme="light", motion="no-preference"):
        if width:
            self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=740,
                     deviceScaleFactor=2, mobile=True)
        else:
            self.cdp("Emulation.clearDeviceMetricsOverride")
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": scheme},
                           {"name": "prefers-reduced-motion", "value": motion}])

    # What a person sees

    def text(self, element):
        return self.find(f"#{element}").text

    def rows(self):
        """The cells behind the name, as text, by the name. In one look, as the rows may be redrawn."""
        return {name: cells for name, *cells in self.run_script("""
            return [...document.querySelectorAll("#rows tr")]
              .map((row) => [...row.cells].map((cell) => cell.innerText))""")}

    def nodes(self):
        """State, lag and number of domains by the node."""
        return {name: cells for name, *cells in self.run_script("""
            return [...document.querySelectorAll("#nodes tr")]
              .map((row) => [...row.cells].map((cell) => cell.innerText))""")}

    def status_in_list(self, domain):
        return self.rows().get(domain, [None] * 3)[1]

    def dialog_is_open(self):
        return self.run_script("return document.getElementById('confirm').open")

    def run_script(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def screenshot(self, name):
        self.browser.save_screenshot(os.path.join(DIRECTORY, f"{name}.png"))

    # Assertions

    def until(self, condition, limit=20):
        """Elements come and go while the page draws itself again."""
        passing = [NoSuchElementException, StaleElementReferenceException]
        return WebDriverWait(self.browser, limit, 0.1, passing).until(lambda _: condition())

    def assert_shows(self, element, *texts):
        try:
            self.until(lambda: all(text in self.text(element) for text in texts))
        except TimeoutException:
            self.fail(f"{texts} not in #{element}: {self.text(element)!r}")


class AtAGlance(PageTest):

    def test_the_state_and_the_counts_of_the_node_are_seen(self):
        _, status = api("GET", "/api/status")
        self.assert_shows("node", status["node"], status["version"])
        self.assert_shows("state", "following", "The table follows the database.",
                          f"{status['domains']:,} domains", "current", "ago")
        self.assert_shows("glance", f"{status['domains']:,}", "ago", status["database"]["kind"])
        self.assert_shows("host-types", "type1", "type2")
        self.assert_shows("work", "Checks", "Loads", "Reloads")
        self.assert_shows("last-error", "There was none.")
        self.assert_shows("nodes", status["node"], "(this)")
        self.screenshot("desktop")

    def test_what_is_done_most_comes_first_and_the_state_is_one_line(self):
        tops = self.run_script("""
            return ["state", "look-up", "add", "filter", "list", "import", "glance", "work"]
              .map((id) => document.getElementById(id).getBoundingClientRect().top)""")
        self.assertEqual(sorted(tops), tops)
        line_height = float(self.find("#state").value_of_css_property("line-height")[:-2])
        self.assertLess(self.find("#state").size["height"], 1.5 * line_height)

    def test_the_lag_is_drawn_and_said(self):
        for chart, title in [("lag-events", "Events not applied yet"),
                             ("lag-seconds", "Seconds behind")]:
            self.assert_shows(chart, title, "Now 0")
            curve = self.find(f"#{chart} svg .curve").get_attribute("d")
            self.assertRegex(curve, r"^M[\d.]+ [\d.]+h0")
            self.assertEqual("img", self.find(f"#{chart} svg").get_attribute("role"))

    def test_a_look_at_the_database_says_that_it_is_the_same(self):
        self.click("#verify")
        self.assert_shows("verified", "say the same")

    def test_the_counts_follow_by_themselves(self):
        remove("counted.example")
        self.open()
        before = api("GET", "/api/status")[1]["domains"]
        self.assert_shows("glance", f"{before:,}")
        add("counted.example")
        self.assert_shows("glance", f"{before + 1:,}")

    def test_nothing_is_asked_while_nobody_looks(self):
        asked = """return performance.getEntriesByType("resource")
                   .filter((each) => each.name.endsWith("/api/status")).length"""
        hide = """Object.defineProperty(document, "hidden", {value: arguments[0], configurable: true});
                  document.dispatchEvent(new Event("visibilitychange"))"""
        self.run_script(hide, True)
        time.sleep(1)
        before = self.run_script(asked)
        time.sleep(6)
        self.assertEqual(before, self.run_script(asked))
        self.run_script(hide, False)
        self.until(lambda: self.run_script(asked) > before)


class Password(PageTest):

    def setUp(self):
        self.browser.get(GIVEN_URL + "/")

    def test_an_address_with_a_password_works_and_changes_are_made(self):
        remove("secret.example")
        self.assert_shows("state", "following")
        self.add_by_form("secret.example", "type1")
        self.assert_shows("said", "secret.example is in the database: enabled.")


class LookUp(PageTest):

    def test_a_domain_is_found(self):
        self.look_up(FILLED[0])
        self.assert_shows("said", FILLED[0], "enabled")
        self.assert_shows("found", FILLED[0], "type2", "enabled")
        self.screenshot("found")

    def test_a_name_is_found_however_it_is_written(self):
        self.look_up(f"  {FILLED[0].upper()} ")
        self.assert_shows("found", FILLED[0])

    def test_a_domain_that_is_not_there_is_not_found(self):
        self.look_up("nowhere.example")
        self.assert_shows("said", "nowhere.example", "Domain not found", "add it")
        self.assertEqual("", self.text("found"))

    def test_an_invalid_name_is_refused_with_what_to_do(self):
        self.look_up("x" * 300)
        self.assert_shows("said", "Invalid domain name", "250 characters")

    def test_a_static_domain_says_why_it_cannot_be_changed(self):
        self.look_up(STATIC)
        self.assert_shows("found", "static", "only the configuration of the nodes can change it")
        self.assertEqual([], self.browser.find_elements(By.CSS_SELECTOR, "#found button"))


class Add(PageTest):

    def setUp(self):
        remove("new.example")
        super().setUp()

    def test_an_added_domain_is_seen_in_the_list(self):
        self.add_by_form("New.example", "type1")
        self.assert_shows("said", "new.example is in the database: enabled.")
        self.filter("type1")
        self.until(lambda: self.status_in_list("new.example") == "enabled")

    def test_a_domain_that_is_there_and_disabled_is_not_said_to_be_enabled(self):
        add("new.example")
        api("PATCH", path_of("new.example"), {"enabled": False})
        self.add_by_form("new.example", "type1")
        self.assert_shows("said", "new.example is in the database: disabled.")

    def test_a_domain_of_another_host_type_is_a_duplicate(self):
        add("new.example")
        self.add_by_form("new.example", "type2")
        self.assert_shows("said", "new.example was not added. Duplicate", "another host type")

    def test_a_static_domain_cannot_be_added(self):
        self.add_by_form(STATIC, "type1")
        self.assert_shows("said", f"{STATIC} was not added. Domain is static", "configuration")

    def test_a_host_type_that_the_node_no_longer_has_is_unknown(self):
        # As on a page that is older than the configuration of the node.
        self.run_script("document.getElementById('add-host-type').append(new Option('type9'))")
        self.add_by_form("new.example", "type9")
        self.assert_shows("said", "new.example was not added. Unknown host type")

    def test_without_a_host_type_nothing_is_sent(self):
        self.type_into("add-name", "new.example")
        self.click("#add button")
        self.assertTrue(self.run_script("return document.querySelector('#add select:invalid')"))
        self.assertEqual(404, api("GET", path_of("new.example"))[0])


class TheList(PageTest):

    def test_pages_go_on_and_back(self):
        self.filter("type2")
        self.until(lambda: list(self.rows()) == FILLED[:50])
        self.assert_shows("page", "Page 1: 50 domains")
        self.assertFalse(self.find("#previous").is_enabled())
        self.click("#next")
        self.assert_shows("page", "Page 2")
        self.assertEqual(FILLED[50:100], list(self.rows()))
        self.click("#next")
        self.assert_shows("page", "Page 3: 20 domains")
        self.assertEqual(FILLED[100:], list(self.rows()))
        self.assertFalse(self.find("#next").is_enabled())
        self.click("#previous")
        self.assert_shows("page", "Page 2")
        self.click("#previous")
        self.assert_shows("page", "Page 1")
        self.assertEqual(FILLED[:50], list(self.rows()))

    def test_filters_choose(self):
        add("other.example", "type1")
        add("quiet.example", "type1")
        api("PATCH", path_of("quiet.example"), {"enabled": False})
        self.filter("type1", "disabled")
        self.until(lambda: list(self.rows()) == ["quiet.example"])
        self.assertIn("status=disabled", self.find("#export").get_attribute("href"))
        self.filter("type1", "enabled")
        self.until(lambda: "other.example" in self.rows())
        self.assertNotIn("quiet.example", self.rows())
        self.filter("type2", "deleting")
        self.assert_shows("page", "There is no such domain.")

    def test_static_domains_are_listed_and_have_no_buttons(self):
        self.filter("type1")
        cells = self.until(lambda: self.rows().get(STATIC))
        self.assertEqual(["type1", "enabled, static",
                          "Static: only the configuration of the nodes can change it."], cells)
        self.assertEqual([], self.browser.find_elements(
            By.CSS_SELECTOR, f"#rows [aria-label$=' {STATIC}']"))


    @unittest.skipUnless(CONTROLLED, "nobody to write the row")
    def test_a_domain_that_can_never_route_is_marked_and_can_only_be_removed(self):
        please("write_row")
        self.filter("type1")
        cells = self.until(lambda: self.rows().get("UPPER.Example"))
        self.assertEqual("enabled, never routes", cells[1])
        self.assertIn("its name is not nameprepped", cells[2])
        self.assertEqual(["Remove UPPER.Example"], [button.get_attribute("aria-label") for button in
                         self.browser.find_elements(By.CSS_SELECTOR, "#rows [aria-label$=' UPPER.Example']")])
        self.look_up("UPPER.Example")
        self.assert_shows("found", "UPPER.Example", "never routes")
        self.click_in_row("UPPER.Example", "Remove")
        self.type_into("confirm-name", "UPPER.Example")
        self.click("#confirm-yes")
        self.assert_shows("said", "UPPER.Example was removed")
        self.until(lambda: "UPPER.Example" not in self.rows())


class Change(PageTest):

    DOMAIN = "changed.example"

    def setUp(self):
        remove(self.DOMAIN)
        add(self.DOMAIN)
        super().setUp()
        self.filter("type1")

    def test_a_domain_is_disabled_after_a_question_and_enabled_without(self):
        self.click_in_row(self.DOMAIN, "Disable")
        self.assert_shows("confirm", f"Disable {self.DOMAIN}?", "Its data stays")
        self.click("#confirm-yes")
        self.assert_shows("said", f"{self.DOMAIN} is disabled")
        self.until(lambda: self.status_in_list(self.DOMAIN) == "disabled")
        self.click_in_row(self.DOMAIN, "Enable")
        self.assert_shows("said", f"{self.DOMAIN} is enabled")
        self.until(lambda: self.status_in_list(self.DOMAIN) == "enabled")

    def test_who_cancels_changes_nothing(self):
        for button in ["Disable", "Remove"]:
            self.click_in_row(self.DOMAIN, button)
            self.assert_shows("confirm", f"{button} {self.DOMAIN}?")
            self.click("#confirm-cancel")
            self.until(lambda: not self.dialog_is_open())
        self.assertEqual("enabled", api("GET", path_of(self.DOMAIN))[1]["status"])

    def test_a_domain_is_removed_when_its_name_is_typed(self):
        self.click_in_row(self.DOMAIN, "Remove")
        self.assert_shows("confirm", f"Remove {self.DOMAIN}?", "cannot be undone")
        self.screenshot("dialog")
        self.find("#confirm-name").send_keys("another.example", Keys.ENTER)
        self.assertTrue(self.dialog_is_open())
        self.type_into("confirm-name", self.DOMAIN)
        self.click("#confirm-yes")
        self.assert_shows("said", f"{self.DOMAIN} was removed")
        self.until(lambda: self.DOMAIN not in self.rows())
        self.assertEqual(404, api("GET", path_of(self.DOMAIN))[0])

    def test_a_domain_that_is_gone_meanwhile_is_said_to_be(self):
        remove(self.DOMAIN)
        self.click_in_row(self.DOMAIN, "Disable")
        self.click("#confirm-yes")
        self.assert_shows("said", f"{self.DOMAIN} was not changed. Domain not found")
        self.until(lambda: self.DOMAIN not in self.rows())


class Import(PageTest):

    NAMES = [f"z-import{number:04}.example" for number in range(2500)]

    @classmethod
    def setUpClass(cls):
        for name in ["a", "b", "c", "d", "f", "line", "other", "commented", "crlf", "corrected"]:
            remove(f"{name}.import.example")

    def test_a_file_is_tried_then_imported_and_seen_in_the_list(self):
        tried = self.import_file("domain,host_type\na.import.example,type1\n"
                                 "b.import.example,type9\nb.import.example,type1\n")
        self.assertEqual("3 records: 2 would be added, 0 would be changed, 0 are there already, "
                         "1 would be rejected. Nothing is changed yet.", tried)
        self.assertEqual("3 records: 2 added, 0 changed, 0 were there already, 1 rejected.",
                         self.text("imported"))
        self.assert_shows("import-rejected", "Line 3: unknown host type: b.import.example,type9")
        self.assertEqual("domain,host_type\n# line 3: unknown host type\nb.import.example,type9\n",
                         self.rejected_file("rejected.csv"))
        self.filter("type1")
        self.until(lambda: self.status_in_list("a.import.example") == "enabled")
        self.screenshot("import")

    def test_a_trial_changes_nothing(self):
        self.choose_file("c.import.example,type1\n")
        self.assertFalse(self.find("#import-run").is_enabled())
        self.click("#import-try")
        self.assert_shows("imported", "1 record: 1 would be added", "Nothing is changed yet.")
        self.assertTrue(self.find("#import-run").is_enabled())
        self.assertEqual(404, api("GET", path_of("c.import.example"))[0])
        # Another file has to be tried again.
        self.choose_file("c.import.example,type2\n", "other.csv")
        self.assertFalse(self.find("#import-run").is_enabled())
        self.assertEqual("", self.text("imported"))

    def test_a_file_of_many_requests_keeps_its_line_numbers(self):
        lines = ["\ufeff# a comment", "", *[f"{name},type1" for name in self.NAMES]]
        lines[2301] = "nowhere,type9"
        tried = self.import_file("\r\n".join(lines))
        self.assertIn("2,500 records: 2,499 would be added", tried)
        self.assert_shows("import-rejected", "Line 2,302: unknown host type: nowhere,type9")
        self.assert_shows("imported", "2,500 records: 2,499 added", "1 rejected.")
        # The same again is there already, and a trial says so.
        self.choose_file("\r\n".join(lines), "again.csv")
        self.click("#import-try")
        self.assert_shows("imported", "0 would be added", "2,499 are there already")
        self.assertEqual(self.NAMES[-1], api("GET", path_of(self.NAMES[-1]))[1]["domain"])

    def test_objects_of_json_are_taken_by_how_they_begin(self):
        tried = self.import_file('{"domain": "line.import.example", "host_type": "type1"}\n'
                                 '{"domain": "line2.import.example"}', "domains.txt")
        self.assertIn("2 records: 1 would be added", tried)
        self.assert_shows("import-rejected", "Line 2: ", "host_type")
        self.assertRegex(self.rejected_file("rejected.ndjson"), r'^# line 2: .*host_type.*\n{"domain": "line2[^\n]*\n$')
        self.assertEqual(200, api("GET", path_of("line.import.example"))[0])

    def test_rejected_objects_of_json_are_corrected_and_imported(self):
        self.import_file('{"domain": "crlf.import.example", "host_type": "type1"}\r\n\r\n'
                         '{"domain": "corrected.import.example", "host_type": "type9"}\r\n', "crlf.ndjson")
        self.assert_shows("imported", "2 records: 1 added", "1 rejected.")
        self.assert_shows("import-rejected", "Line 3: unknown host type: ", "corrected.import.example")
        rejected = self.rejected_file("rejected.ndjson")
        self.assertEqual("# line 3: unknown host type\n"
                         '{"domain": "corrected.import.example", "host_type": "type9"}\n', rejected)
        tried = self.import_file(rejected.replace("type9", "type1"), "corrected.ndjson")
        self.assertIn("1 record: 1 would be added", tried)
        self.assert_shows("imported", "1 record: 1 added", "0 rejected.")
        self.assertEqual(200, api("GET", path_of("corrected.import.example"))[0])

    def test_only_comments_are_passed_over_and_each_is_one_line(self):
        tried = self.import_file('# one,"two\ncommented.import.example,type1\n'
                                 '#\n  # three\n#no.import.example,type9\n')
        self.assertIn("2 records: 1 would be added", tried)
        self.assert_shows("import-rejected", "Line 5: ", "#no.import.example,type9")
        self.assertEqual(200, api("GET", path_of("commented.import.example"))[0])

    def test_a_quotation_mark_that_is_not_closed_loses_its_line_only(self):
        tried = self.import_file('d.import.example,type1\n"e.import.example,type1\nf.import.example,type1\n'
                                 '"g.import.example",type9\n"h.import.example,type1\n')
        self.assertIn("5 records: 2 would be added", tried)
        self.assertEqual('# line 2: a quotation mark is not closed\n"e.import.example,type1\n'
                         '# line 4: unknown host type\n"g.import.example",type9\n'
                         '# line 5: a quotation mark is not closed\n"h.import.example,type1\n',
                         self.rejected_file("rejected.csv"))
        for name in ["d.import.example", "f.import.example"]:
            self.assertEqual(200, api("GET", path_of(name))[0])

    def test_a_record_that_only_the_node_knows_is_said_to_be_one(self):
        # No node of this version answers so.
        self.run_script("""
            const { fetch } = window;
            window.fetch = (url, options) => options.method !== "POST" ? fetch(url, options) : new Response(
              '{"rejected": {"line": 2, "reason": "odd"}}\\n{"done": {"added": 3, "rejected": 1}}\\n')""")
        self.choose_file("a.import.example,type1\n")
        self.click("#import-try")
        self.assert_shows("imported", "The node finds other records than this page after line 1",
                          "3 would be added", "1 would be rejected")
        self.assertFalse(self.find("#import-run").is_enabled())

    def test_a_quotation_mark_that_is_not_closed_is_said_with_its_line(self):
        self.choose_file('a.import.example,type1\n"b.import.example,type1\n' + "x,type1\n" * 3000)
        self.click("#import-try")
        self.assert_shows("imported", "Line 2 is too long", "quotation mark")
        self.assertFalse(self.find("#import-run").is_enabled())

    def test_markup_in_a_file_is_shown_as_it_is(self):
        self.choose_file(f"{HOSTILE},type9\n", HOSTILE.replace("/", "") + ".csv")
        self.click("#import-try")
        self.assert_shows("import-rejected", f"{HOSTILE},type9")
        self.assertEqual([], self.browser.find_elements(By.CSS_SELECTOR, "body img"))

    def test_an_import_that_is_stopped_says_so_and_can_go_on(self):
        # A thousand requests take longer than a click.
        lines = "".join(f"stopped{number:07}.example,type2\n" for number in range(1000000))
        self.choose_file(lines)
        self.click("#import-try")
        self.click("#import-stop")
        self.assert_shows("imported", "Stopped.", "Nothing is changed yet.")
        self.assertLess(int(re.search(r"([\d,]+) records?:", self.text("imported"))[1]
                            .replace(",", "")), 1000000)
        self.assertFalse(self.find("#import-stop").is_displayed())

    def test_a_file_is_imported_without_a_mouse(self):
        self.choose_file("other.import.example,type1\n")
        # Past the rows of the list, by another link that only the keyboard finds.
        self.tab_to(".skip[href='#import']")
        self.press(Keys.ENTER)
        self.tab_to("#import-try")
        self.press(Keys.ENTER)
        self.assert_shows("imported", "1 record: 1 would be added")
        self.tab_to("#import-run")
        self.press(Keys.SPACE)
        self.assert_shows("imported", "1 added")


class Help(PageTest):

    def test_each_counter_says_what_it_means_on_focus(self):
        terms = self.run_script("""
            return [...document.querySelectorAll("#glance dt, #work dt, #errors dt")]
              .map((each) => (each.querySelector("dfn") ?? each).textContent)""")
        self.assertIn("Gaps settled", terms)
        for term in terms:
            self.assertGreater(len(self.help_of(term)), 30, term)
        self.tab_to("#work dfn")
        first = self.find("#work .help")
        self.assertTrue(first.is_displayed())
        self.assertIn("event log", first.text)
        self.assertEqual("tooltip", first.get_attribute("role"))
        # It stays while the page draws its figures again, and goes by Escape.
        time.sleep(6)
        self.assertTrue(self.find("#work .help").is_displayed())
        self.press(Keys.ESCAPE)
        self.assertFalse(self.find("#work .help").is_displayed())
        self.press(Keys.TAB)
        self.assertTrue(self.browser.find_elements(By.CSS_SELECTOR, "#work .help")[1].is_displayed())

    def test_each_counter_says_what_it_means_under_the_mouse(self):
        for scheme, width in [("light", None), ("dark", 360)]:
            self.emulate(scheme=scheme, width=width)
            self.open()
            for at, term in enumerate(self.browser.find_elements(By.CSS_SELECTOR, "#status dfn")):
                help_text = self.browser.find_elements(By.CSS_SELECTOR, "#status .help")[at]
                self.assertFalse(help_text.is_displayed())
                webdriver.ActionChains(self.browser).move_to_element(term).perform()
                self.assertTrue(help_text.is_displayed())
                self.assertEqual([], [each for each in self.run_script(CONTRASTS) if each[0] < 4.5])
                left, right = self.run_script("""
                    const { left, right } = arguments[0].getBoundingClientRect();
                    return [left, innerWidth - right]""", help_text)
                self.assertGreaterEqual(min(left, right), 0)
            self.screenshot(f"help-{scheme}")


class NamesAreText(PageTest):

    def test_markup_in_a_host_type_is_shown_as_it_is(self):
        add("marked.example", MARKUP)
        self.assert_shows("host-types", MARKUP)
        self.filter(MARKUP)
        cells = self.until(lambda: self.rows().get("marked.example"))
        self.assertEqual(MARKUP, cells[0])
        self.look_up("marked.example")
        self.assert_shows("found", MARKUP)
        self.assert_no_element_of_a_name()

    def test_markup_in_a_domain_is_shown_as_it_is_and_nothing_runs(self):
        for name in [HOSTILE, "<script>window.ran=1</script>"]:
            self.look_up(name)
            self.assert_shows("said", name)
            self.add_by_form(name, "type1")
            # Whether the node takes such a name or not.
            self.until(lambda: "was not added" in self.text("said") or
                       "is in the database" in self.text("said"))
            self.assert_shows("said", name)
            self.assert_no_element_of_a_name()
        self.screenshot("names")

    def test_a_domain_with_markup_is_removed_like_any(self):
        code, _ = api("PUT", path_of(HOSTILE), {"host_type": "type1"})
        if code != 204:
            self.skipTest("the node takes no such name")
        self.look_up(HOSTILE)
        self.click("#found .danger")
        self.assert_shows("confirm", HOSTILE)
        self.type_into("confirm-name", HOSTILE)
        self.click("#confirm-yes")
        self.assert_shows("said", f"{HOSTILE} was removed")
        self.assert_no_element_of_a_name()

    def assert_no_element_of_a_name(self):
        self.assertEqual([], self.browser.find_elements(By.CSS_SELECTOR, "body img, body script, body b"))


class Keyboard(PageTest):

    DOMAIN = "keyboard.example"

    def setUp(self):
        remove(self.DOMAIN)
        super().setUp()

    def focused_label(self):
        return self.run_script("return document.activeElement.getAttribute('aria-label')")

    def test_everything_is_done_without_a_mouse(self):
        # Past the status, by the link that only the keyboard finds.
        self.tab_to(".skip")
        self.press(Keys.ENTER)
        # Add.
        self.tab_to("#add-name")
        self.press(self.DOMAIN)
        self.tab_to("#add-host-type")
        self.press("type1")
        self.tab_to("#add button")
        self.press(Keys.ENTER)
        self.assert_shows("said", f"{self.DOMAIN} is in the database")
        # Disable: the question has the focus, keeps it, and gives it back.
        self.tab_to("#found button")
        self.assertEqual(f"Disable {self.DOMAIN}", self.focused_label())
        self.press(Keys.ENTER)
        self.until(self.dialog_is_open)
        for _ in range(5):
            self.press(Keys.TAB)
            self.assertTrue(self.run_script(
                "return document.activeElement.closest('dialog, body').matches('dialog')"
                "    || document.activeElement === document.body"))
        self.press(Keys.ESCAPE)
        self.until(lambda: not self.dialog_is_open())
        self.assertEqual(f"Disable {self.DOMAIN}", self.focused_label())
        self.press(Keys.ENTER)
        self.until(self.dialog_is_open)
        self.tab_to("#confirm-yes")
        self.press(Keys.ENTER)
        self.assert_shows("said", "is disabled")
        # Its buttons are new ones, but the focus is where it was; a space presses, too.
        self.until(lambda: self.focused_label() == f"Enable {self.DOMAIN}")
        self.press(Keys.SPACE)
        self.assert_shows("said", "is enabled")
        self.until(lambda: self.focused_label() == f"Disable {self.DOMAIN}")
        # Remove: the field for the name has the focus, and Enter there is enough.
        self.tab_to("#found .danger")
        self.press(Keys.ENTER)
        self.until(self.dialog_is_open)
        self.press(self.DOMAIN, Keys.ENTER)
        self.assert_shows("said", f"{self.DOMAIN} was removed")
        self.assertEqual("domains", self.run_script("return document.activeElement.id"))

    def test_the_list_is_filtered_and_paged_without_a_mouse(self):
        self.tab_to("#filter-host-type")
        self.press("type2")
        self.tab_to("#filter button")
        self.press(Keys.ENTER)
        self.until(lambda: list(self.rows()) == FILLED[:50])
        self.run_script("document.querySelector('#rows tr:last-child button').focus()")
        self.tab_to("#next")
        self.press(Keys.ENTER)
        self.assert_shows("page", "Page 2")
        self.press(Keys.ENTER)
        self.assert_shows("page", "Page 3")
        # Next cannot be pressed any more, and the focus is not lost with it.
        self.until(lambda: self.run_script("return document.activeElement.id") == "previous")
        self.press(Keys.ENTER)
        self.assert_shows("page", "Page 2")

    def test_the_table_is_verified_without_a_mouse(self):
        self.tab_to("#verify")
        self.press(Keys.ENTER)
        self.assert_shows("verified", "say the same")

    def test_every_control_has_a_name(self):
        nameless = self.run_script("""
            return [...document.querySelectorAll("button, input, select, a, nav, dialog, table, svg")]
              .filter((each) => !(each.labels?.length || each.textContent.trim()
                || each.hasAttribute("aria-label") || each.hasAttribute("aria-labelledby")))
              .map((each) => each.outerHTML)""")
        self.assertEqual([], nameless)
        self.assertEqual([], self.run_script(
            "return [...document.querySelectorAll('th:not([scope])')].map((each) => each.outerHTML)"))


class Appearance(PageTest):

    @classmethod
    def setUpClass(cls):
        add(LONG)

    @classmethod
    def tearDownClass(cls):
        remove(LONG)

    def test_a_phone_shows_everything_without_scrolling_sideways(self):
        self.emulate(width=360)
        self.open()
        self.filter("type1")
        self.until(lambda: LONG in self.rows())
        self.assert_fits()
        self.screenshot("phone")
        self.look_up(LONG)
        self.assert_shows("found", LONG)
        self.assert_fits()
        self.screenshot("phone-found")
        self.click("#found .danger")
        self.until(self.dialog_is_open)
        self.assert_fits()
        self.screenshot("phone-dialog")
        self.click("#confirm-cancel")

    def assert_fits(self):
        self.assertEqual([360, []], self.run_script("""
            return [document.scrollingElement.scrollWidth,
                    [...document.querySelectorAll("body *")]
                      .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > 361)
                      .map((each) => each.outerHTML.slice(0, 80))]"""))

    def test_texts_have_contrast_in_the_light_and_in_the_dark(self):
        api("PATCH", path_of(LONG), {"enabled": False})
        for scheme in ["light", "dark"]:
            self.emulate(scheme=scheme)
            self.open()
            self.look_up("nowhere.example")
            self.assert_shows("said", "not found")
            self.assert_contrast(scheme)
            self.look_up(LONG)
            self.assert_shows("found", "disabled")
            self.assert_contrast(scheme)
            self.screenshot(scheme)
            self.click("#found .danger")
            self.until(self.dialog_is_open)
            self.assert_contrast(scheme)
            self.click("#confirm-cancel")
        grounds = self.run_script("return getComputedStyle(document.body).backgroundColor")
        self.assertLess(max(int(c) for c in grounds[4:-1].split(",")), 60, "the dark is dark")

    def assert_contrast(self, scheme):
        # Colours of buttons change in a moment.
        self.until(lambda: self.run_script("return document.getAnimations().length") == 0)
        contrasts = self.run_script(CONTRASTS)
        self.assertGreater(len(contrasts), 30)
        self.assertEqual([], [each for each in contrasts if each[0] < 4.5], scheme)

    def test_nothing_moves_for_who_does_not_want_it(self):
        self.emulate(motion="reduce")
        self.assertEqual("0s", self.find("button").value_of_css_property("transition-duration"))


class TheNodeGoesAway(PageTest):

    def tearDown(self):
        please("start")
        super().tearDown()

    @unittest.skipUnless(CONTROLLED, "nobody to stop the node")
    def test_the_page_says_so_and_goes_on_when_it_is_back(self):
        please("stop")
        self.assert_shows("silence", "The node does not answer.", "what it said at")
        self.screenshot("away")
        self.look_up(FILLED[0])
        self.assert_shows("said", "The node does not answer")
        self.click("#filter button")
        self.assert_shows("page", "The list could not be read.")
        self.add_by_form("lost.example", "type1")
        self.assert_shows("said", "lost.example was not added. The node does not answer",
                          "whether it did this is not known")
        self.click("#verify")
        self.assert_shows("verified", "The node does not answer")
        please("start")
        self.until(lambda: self.text("silence") == "")
        self.assert_shows("recovery", "The node answers again.")
        self.assert_shows("page", "Page 1: 50 domains")
        self.look_up(FILLED[0])
        self.assert_shows("found", FILLED[0])


@unittest.skipUnless(CONTROLLED, "nobody to add a node")
class TheOtherNodes(PageTest):

    def setUp(self):
        please("add_node")
        self.addCleanup(please, "remove_node")
        super().setUp()

    def other(self):
        return next((cells for name, cells in self.nodes().items() if name.startswith("other")), None)

    def test_a_node_follows_then_hangs_then_is_gone(self):
        domains = f"{api('GET', '/api/status')[1]['domains']:,}"
        self.until(lambda: self.other() == ["following", "0", domains])
        self.screenshot("nodes")
        please("hang_node")
        self.until(lambda: self.other() == ["not reachable", "–", "–"])
        self.assert_shows("state", "following")
        self.screenshot("node-hangs")
        please("remove_node")
        self.until(lambda: self.other() is None)


@unittest.skipUnless(CONTROLLED, "nobody to break the database")
class TheDatabaseFails(PageTest):
    """Comes after AtAGlance, by its name: the node keeps the last error."""

    def test_the_page_says_what_failed_and_since_when(self):
        self.addCleanup(please, "mend_database")
        please("break_database")
        self.assert_shows("state", "retrying", "The last check failed.", "s behind")
        self.assert_shows("glance", "s behind")
        self.assertIn("tables are not in this database", self.help_of("missing_tables"))
        self.assert_shows("last-error", "The last one (", "domain_events")
        self.assertRegex(self.text("errors"), r"\w+\n[1-9]")
        # The next sample of the lag.
        self.until(lambda: re.search(r"Now (?!0 s)[\d.]+ s;", self.text("lag-seconds")))
        self.screenshot("retrying")
        self.filter("type2")
        self.until(lambda: list(self.rows()) == FILLED[:50])
        please("mend_database")
        self.assert_shows("state", "following", "current")
        self.assert_shows("last-error", "The last one (")


def please(do):
    if CONTROLLED:
        # The runner has begun a line on standard error, which may be the same.
        print(f"\nplease {do}", flush=True)
        sys.stdin.readline()


class Documentation(PageTest):

    def test_every_operation_is_shown(self):
        self.open("/api/docs")
        _, document = api("GET", "/api/openapi.json")
        self.until(lambda: self.text("operations"))
        self.assertEqual(document["info"]["title"], self.text("title"))
        for path, item in document["paths"].items():
            for method in item.keys() & {"get", "put", "post", "patch", "delete"}:
                self.assert_shows("operations", f"{method.upper()} {path}")
                for code in item[method]["responses"]:
                    self.assert_shows("operations", code)
        for schema in document.get("components", {}).get("schemas", {}):
            self.assert_shows("schemas", schema)
        self.assertEqual("", self.text("failure"))
        self.screenshot("docs")

    def test_links_lead_to_operations_and_schemas(self):
        self.open("/api/docs")
        self.until(lambda: self.text("operations"))
        self.assertEqual([], self.run_script("""
            return [...document.querySelectorAll("main a[href^='#']")]
              .map((each) => decodeURIComponent(each.hash.slice(1)))
              .filter((id) => document.getElementById(id) === null)"""))

    def test_it_fits_a_phone_and_has_contrast_in_the_dark(self):
        self.emulate(width=360, scheme="dark")
        self.open("/api/docs")
        self.until(lambda: self.text("operations"))
        self.assertEqual(360, self.run_script("return document.scrollingElement.scrollWidth"))
        self.assertEqual([], [each for each in self.run_script(CONTRASTS) if each[0] < 4.5])
        self.screenshot("docs-phone")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v", *TESTS])
