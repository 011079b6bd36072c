"""Writes the seeds of an atheris campaign, one file each: `python -m tests.fuzz.seeds market FOLDER`."""

import json
import sys
from pathlib import Path

from tests.fuzz import payloads, test_checkpoints, test_settings

SEEDS = {
    "market": payloads.MARKET_FRAMES,
    "user": payloads.USER_FRAMES,
    "rest": [payloads.ORDER, payloads.ALGO, payloads.TRADE, payloads.INCOME, payloads.POSITION],
    "symbols": [payloads.EXCHANGE_INFO],
    "bot": test_settings.BOT_FILES,
    "variant": test_settings.VARIANT_FILES,
    "scenario": test_settings.SCENARIO_FILES,
    "manifest": [test_checkpoints.ADAPTER, test_checkpoints.FULL],
    "pointer": [test_checkpoints.ACTIVE],
}


def main(target: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[target]):
        text = seed if isinstance(seed, str) else json.dumps(seed)
        (folder / f"seed-{number}").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
