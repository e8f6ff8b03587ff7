"""Pages of flows in a browser with its own fonts: no text leaves its block or lies over another, at any size."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from flows.dialects import compile_flow
from flows.simulate import Scenario, simulate
from flows.tools.calllog import log_of
from flows.tools.draw import draw_page

pytestmark = pytest.mark.peer("chromium")

FLOW = Path(__file__).parents[2] / "examples" / "clinic.json"
JUDGE = """
<script>{
const bad = [];
const sheet = document.querySelector("#sheet");
const scale = sheet.getBoundingClientRect().width / sheet.offsetWidth;
for (const block of document.querySelectorAll(".block")) {
  const box = block.querySelector(".box").getBoundingClientRect();
  const texts = [...block.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
  for (const [text, at] of texts) {
    if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1) {
      bad.push("outside: " + text);
    }
  }
  for (const [one, a] of texts) for (const [other, b] of texts) {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (a !== b && across > 1 && down > 4 * scale) bad.push("over each other: " + one + " / " + other);
  }
}
const live = document.body.classList.contains("live");
document.title = JSON.stringify({ live, blocks: document.querySelectorAll(".block").length, bad });
}</script>
</body>"""


@pytest.mark.parametrize("size", ["500,844", "1366,768"])
def test_texts_stay_in_their_blocks(tmp_path: Path, size: str) -> None:
    flow = compile_flow(FLOW.read_bytes(), name=FLOW.name).graph
    assert flow is not None
    scenario = Scenario()
    page = draw_page(flow, log_of(simulate(flow, "press 1; press 2", scenario=scenario), scenario))
    (tmp_path / "flow.html").write_text(page.replace("</body>", JUDGE))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--window-size={size}", "--dump-dom", f"file://{tmp_path / 'flow.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr[-500:]
    assert title[1] == '{"live":true,"blocks":56,"bad":[]}'
