"""Variant files that trade far more often than a person would, so that every kind of entry and end happens."""

from pathlib import Path

# A scenario: else a part of an exit may be filled by a sibling's stop, which no backtest knows (docs/reliability.md).
WHOLE_FILLS = 'name = "whole-fills"\ndescription = "Every order fills whole."\npartial_fill_probability = 0.0\n'
ROUND_THE_CLOCK = ", ".join(str(minute) for minute in range(1, 60, 20))

TEMPLATE = """
[variant]
name = "{name}"
tier = "t1"
symbols = [{symbols}]
minutes = [{minutes}]
entry = "{entry}"
filters = [{filters}]
threshold_pct = {threshold}
entry_ttl_minutes = {ttl}

[sizing]
margin_usdt = {margin}
leverage = 10
max_positions_per_symbol = 3

[exits]
stop_pct = {stop}
target_pct = {target}
trail_arm_pct = {trail_arm}
trail_pct = {trail}
floor_arm_pct = {floor_arm}
floor_keep_pct = {floor_keep}
max_hold_minutes = {hold}

{options}
"""

DEFAULTS: dict[str, object] = {
    "minutes": ROUND_THE_CLOCK,
    "entry": "market",
    "filters": "",
    "threshold": 0.01,
    "ttl": 60,
    "margin": 50,
    "stop": 0.6,
    "target": 0.9,
    "trail_arm": 0,
    "trail": 0,
    "floor_arm": 0,
    "floor_keep": 0,
    "hold": 240,
    "options": "",
}


def variant(name: str, symbols: tuple[str, ...], **keys: object) -> str:
    """The text of one variant file; `keys` replace the defaults."""
    quoted = ", ".join(f'"{symbol}"' for symbol in symbols)
    return TEMPLATE.format(name=name, symbols=quoted, **DEFAULTS | keys)


def busy() -> dict[str, str]:
    """Four variants by name: market and limit entries, each kind of end, three symbols."""
    return {
        "market": variant("MARKET", ("BTCUSDT", "ETHUSDT"), trail_arm=0.3, trail=0.2),
        "pullback": variant(
            "PULLBACK",
            ("ETHUSDT", "SOLUSDT"),
            entry="atr05",
            filters='"session", "rsi"',
            floor_arm=0.4,
            floor_keep=0.2,
            options="[entry.atr05]\natr_multiple = 0.3",
        ),
        "patient": variant(
            "PATIENT",
            ("SOLUSDT", "BTCUSDT"),
            minutes="4, 34",
            entry="atr05",
            ttl=25,
            options="[entry.atr05]\natr_multiple = 0.8",
        ),
        "holder": variant("HOLDER", ("SOLUSDT",), minutes="2, 32", stop=8, target=0, hold=720),
    }


def calm() -> dict[str, str]:
    """Two of them: one at market, one with entries that rest."""
    return {name: text for name, text in busy().items() if name in ("market", "patient")}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder
