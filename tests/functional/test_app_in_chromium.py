"""The page of `crystalnet app` in a real browser, with the keyboard alone: what a simulated user cannot see of it."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("nicegui")
pytest.importorskip("selenium")

from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from patience import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.xy"
MOST_STOPS = 150  # of the Tab key on the whole page


@pytest.fixture
def browser() -> Iterator[Chrome]:
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        pytest.skip("no Chromium with its driver on this machine")
    options = ChromeOptions()
    options.binary_location = chromium
    # No sandbox: CI works as root, and the only page is our own. The window holds the whole page, for the screenshot.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,2600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


class Keyboard:
    """Tab, arrows, Enter and what is typed; the pointer is never used."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser

    @property
    def focus(self) -> WebElement:
        return self.browser.switch_to.active_element

    def tab_to(self, name: str) -> WebElement:
        """Press Tab until what a screen reader calls so has the focus."""
        passed = []
        for _ in range(MOST_STOPS):
            self.focus.send_keys(Keys.TAB)
            passed.append(self.focus.accessible_name)
            if passed[-1].strip() == name:
                return self.focus
        raise AssertionError(f"{name} is no stop of the Tab key; these are: {passed}")


def wait(browser: Chrome, done: Callable[[Chrome], object]) -> None:
    WebDriverWait(browser, PATIENCE).until(done)


def says(text: str) -> Callable[[Chrome], bool]:
    return lambda browser: text in browser.find_element(By.TAG_NAME, "body").text


def pressed(browser: Chrome) -> set[str]:
    """The elements that are on in the periodic table."""
    return {button.text for button in browser.find_elements(By.CSS_SELECTOR, ".periodic button[aria-pressed=true]")}


def test_from_a_file_to_its_cif_by_keyboard(server: int, browser: Chrome, tmp_path: Path) -> None:
    keyboard = Keyboard(browser)
    browser.get(f"http://127.0.0.1:{server}/")
    wait(browser, says("No pattern yet"))
    assert keyboard.tab_to("choose files").is_displayed()  # the dialog that it opens is the operating system's
    browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(EXAMPLE))
    wait(browser, says("4001 points"))
    wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .main-svg"))

    keyboard.tab_to("Elements, e.g. Zr, Sb, Pt").send_keys("Zr, Sb, P")
    wait(browser, lambda b: pressed(b) == {"Zr", "Sb", "P"})
    keyboard.focus.send_keys("t")
    wait(browser, lambda b: pressed(b) == {"Zr", "Sb", "Pt"})
    keyboard.tab_to("H").send_keys(Keys.ARROW_DOWN)  # one stop for the whole table, arrows inside
    assert keyboard.focus.text == "Li"
    keyboard.focus.send_keys(Keys.SPACE)
    wait(browser, lambda b: pressed(b) == {"Li", "Zr", "Sb", "Pt"})
    keyboard.focus.send_keys(Keys.SPACE)
    wait(browser, lambda b: pressed(b) == {"Zr", "Sb", "Pt"})

    keyboard.tab_to("Find lines and cells").send_keys(Keys.ENTER)
    wait(browser, says("lines; unchecked ones are not used"))
    assert says("cubic I")(browser)
    keyboard.tab_to("Solve").send_keys(Keys.ENTER)
    wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "table.candidates tbody tr"))
    first = browser.find_element(By.CSS_SELECTOR, "table.candidates tbody tr")
    assert [cell.text for cell in first.find_elements(By.TAG_NAME, "td")][1:3] == ["Zr3Sb4Pt3", "I-43d"]

    cif = keyboard.tab_to("CIF").get_attribute("href")
    with urllib.request.urlopen(cif, timeout=20) as answer:
        assert b"\ndata_candidate_1\n" in answer.read()
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.report"))
    wait(browser, says("Zr3Sb4Pt3"))
    browser.switch_to.default_content()
    assert browser.save_screenshot(str(tmp_path / "answer.png"))
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == [], "the page asks for something that is not there, or its code fails"
