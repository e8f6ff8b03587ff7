"""How pictures look, by day, by night and on paper."""

from __future__ import annotations

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"

_LIGHT = """
.page{fill:#fff}
.box{fill:#fff;stroke:#aab4c3}
.rule{stroke:#e3e7ee}
text{fill:#1c2430}
.small,.detail{fill:#5b6675}
.way{fill:#3b4656}
.end{fill:#a33a3a}
.speak{fill:#2f6fd0}.hear{fill:#7a4fc4}.call{fill:#1f8a5b}.web{fill:#b96a12}.logic{fill:#6b7686}.end-bar{fill:#b03a3a}
.line{stroke:#9aa5b5}
.tip{fill:#9aa5b5}
.stop{fill:#0a6b52}
.number{fill:#fff}
.badge{fill:#0b7f61}
.went .box{stroke:#0b7f61}
.went.line{stroke:#0b7f61}
.went.tip{fill:#0b7f61}
text.went{fill:#0a6b52}
.mark{fill:#d9f2e9}
"""

_DARK = """
.page{fill:#12161c}
.box{fill:#1b212a;stroke:#4a5567}
.rule{stroke:#2c3541}
text{fill:#e6ebf2}
.small,.detail{fill:#a3aebd}
.way{fill:#c3ccd8}
.end{fill:#f0908a}
.speak{fill:#6ea6f5}.hear{fill:#b292f0}.call{fill:#5cc795}.web{fill:#eaa757}.logic{fill:#97a3b3}.end-bar{fill:#e0726c}
.line{stroke:#69768a}
.tip{fill:#69768a}
.stop{fill:#6fdcb9}
.number{fill:#06251c}
.badge{fill:#3fcfa3}
.went .box{stroke:#3fcfa3}
.went.line{stroke:#3fcfa3}
.went.tip{fill:#3fcfa3}
text.went{fill:#6fdcb9}
.mark{fill:#17382f}
"""

_SHAPES = """
text{font-family:FONT;font-size:12px}
.head{font-size:16px;font-weight:600}
.about{font-size:12px}
.title{font-size:13px;font-weight:600}
.small,.detail{font-size:11px}
.stop{font-size:11px;font-weight:600}
.way,.end{font-size:11.5px}
.number{font-size:10px;font-weight:700}
text.went{font-weight:600}
.box{stroke-width:1.2}
.went .box{stroke-width:2.4}
.line{fill:none;stroke-width:1.4}
.went.line{stroke-width:3}
.missed{opacity:.6}
""".replace("FONT", FONT)


def _scoped(rules: str) -> str:
    """``rules`` for nothing but our pictures, so that they change no page that a picture is put into."""
    scoped: list[str] = []
    for rule in rules.split("}"):
        selectors, _, body = rule.strip().partition("{")
        if body:
            scoped.append(",".join(f".ivrea-flow {each}" for each in selectors.split(",")) + f"{{{body}}}")
    return "\n".join(scoped)


def sheet() -> str:
    """The style sheet of a picture."""
    night = f"@media screen and (prefers-color-scheme: dark){{\n{_scoped(_DARK)}\n}}"
    return "\n".join((_scoped(_SHAPES), _scoped(_LIGHT), night))
