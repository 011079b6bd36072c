"""Peak memory of a whole bot: `python -m bot run` as a child, on a day of a generated market with six tiers."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TIER = '''"""A tier of the benchmark: its own adapter, whatever is activated for it."""

from bot.hookspecs import TierTemplate, hookimpl
from bot.messages import ExitPlan


@hookimpl
def tier() -> TierTemplate:
    return TierTemplate(
        name="{tier}",
        checkpoint="active",
        threshold_pct=4.0,
        margin_usdt=50,
        leverage=2,
        max_positions_per_symbol=1,
        max_positions=None,
        exits=ExitPlan(stop_pct=2.0, target_pct=2.0, max_hold_ms=14_400_000),
    )
'''
VARIANT = """[variant]
name = "{name}"
tier = "{tier}"
symbols = {symbols}
minutes = [3]
entry = "market"
"""
LOOK_SECONDS = 0.02


class BotRun:
    """Files of a run in `folder`: a plugin for each tier, a variant for each, the symbols dealt out among them."""

    def __init__(
        self, folder: Path, checkpoints: Path, base: str, tiers: Sequence[str], symbols: Sequence[str]
    ) -> None:
        self._folder, self._checkpoints = folder, checkpoints
        for kind in ("plugins/tiers", "variants"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for number, tier in enumerate(tiers):
            own = ", ".join(f'"{symbol}"' for symbol in symbols[number :: len(tiers)])
            (folder / "plugins/tiers" / f"{tier}.py").write_text(TIER.format(tier=tier))
            text = VARIANT.format(name=tier.upper(), tier=tier, symbols=f"[{own}]")
            (folder / "variants" / f"{tier}.toml").write_text(text)
        (folder / "bot.toml").write_text(f'[model]\nbase = "{base}"\n')

    def peak_gigabytes(self, days: int) -> float:
        """VmHWM of the bot's own process, in 10^9 bytes; its children (simulator, database) are other processes.

        Raises RuntimeError with the end of what it said where the run fails.
        """
        command = [
            sys.executable, "-m", "bot", "run", str(self._folder / "variants"), "--venue", "replay",
            "--plugins", str(self._folder / "plugins"), "--checkpoints", str(self._checkpoints),
            "--config", str(self._folder / "bot.toml"), "--state", str(self._folder / "state"),
            "--days", str(days), "--no-view",
        ]  # fmt: skip
        log = self._folder / "run.log"
        peak = 0
        with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as bot:
            while bot.poll() is None:
                peak = max(peak, _high_water(bot.pid))
                time.sleep(LOOK_SECONDS)
        if bot.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {bot.returncode}:\n{log.read_text()[-3000:]}")
        return peak / 1e9


def measurable() -> bool:
    return Path("/proc/self/status").exists()


def _high_water(pid: int) -> int:
    """Bytes; 0 once the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * 1024 if found else 0
