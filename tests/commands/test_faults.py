"""`simulator --list-faults` and `--scenario`: what can go wrong is told, and what was written wrongly is one line."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import polars as pl
import pytest

from bot.__main__ import main
from bot.exchange.fault_kinds import FaultKind

LOST = 'name = "lost"\ndescription = "One answer is lost."\n[[fault]]\nkind = "unavailable"\non = "GET /fapi/v1/ping"\n'


def test_everything_that_can_go_wrong_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulator", "--list-faults", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in rows] == [kind.value for kind in FaultKind]
    assert main(["simulator", "--list-faults"]) == 0
    told = capsys.readouterr().out
    assert [kind for kind in FaultKind if kind not in told] == []


@pytest.mark.parametrize("command", [["simulator", "--symbol", "BTCUSDT"], ["run", "deploy/variants/btc.toml"]])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LOST.replace("unavailable", "unavailble"), "key fault[0].kind: 'unavailble' is not allowed; expected one of"),
        (LOST + "[switches]\ntrade_light = true\n", 'key switches.trade_light is unknown; did you mean "trade_lite"?'),
        ("name = 1", "key name: 1 is not allowed"),
    ],
)
def test_a_wrong_scenario_is_one_line_that_names_the_file_and_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], text: str, said: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    state = ["--state", str(tmp_path / "state")] if command[0] == "run" else []
    assert main([*command, "--scenario", str(path), *state]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: ")
    assert said in line


def test_without_symbols_and_bars_there_is_nothing_to_serve(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulator"]) == 2
    assert "--symbol: expected one or more" in capsys.readouterr().err


def test_a_folder_of_bars_and_a_scenario_are_all_that_a_client_needs(tmp_path: Path) -> None:
    market = tmp_path / "market"
    assert main(["generate", str(market), "--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--days", "1"]) == 0
    assert pl.read_parquet(market / "BTCUSDT-1h.parquet").height > 24
    scenario = tmp_path / "lost.toml"
    scenario.write_text(LOST)
    command = [sys.executable, "-m", "bot", "simulator", "--bars", str(market), "--scenario", str(scenario)]
    with subprocess.Popen([*command, "--days", "1"], stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            addresses = json.loads(started.stdout.readline())
            assert addresses["symbols"] == ["BTCUSDT", "ETHUSDT"]
            with pytest.raises(urllib.request.HTTPError) as refused:
                urllib.request.urlopen(f"{addresses['rest_url']}/fapi/v1/ping")
            assert refused.value.code == 503
            refused.value.close()
        finally:
            started.terminate()
        assert started.wait(20) == 0
