"""The information coefficient as one HTML page that opens offline."""

import math
from collections.abc import Iterator, Sequence

from bot.research.charts import bars_chart
from bot.research.information import Score, Study, day_of
from bot.research.page import Card, study_page, table

HEADS = ("", "Rows", "IC", "t", "ICIR", "Periods", "Sign right")


def information_page(studies: Sequence[Study]) -> str:
    cards = [card for study in studies for card in _cards(study)]
    return study_page(
        "Information coefficient",
        "What the forecasts knew",
        "Rank correlation of predicted and actual return, by tier",
        cards,
        "Times are UTC. The t-values allow for rows of one hour and overlapping horizons going together. "
        "The same figures as data: python -m bot ic --json.",
    )


def _cards(study: Study) -> Iterator[Card]:
    name = f"{study.tier}, {study.checkpoint}"
    span = f"{day_of(study.from_at)} to {day_of(study.to_at)}, {study.symbols} symbols, {study.horizon} bars ahead"
    scores = [study.total, study.across, *study.by_strength]
    yield Card(name, span, _table(f"{study.tier}-scores", scores))
    plain = _table(f"{study.tier}-baselines", study.baselines)
    yield Card(f"{study.tier}: baselines", "The same bars, predicted by a plain rule or by the base alone", plain)
    quintiles = [
        f"{100 * one.mean:+.3f} % over {one.count:,} rows, predicted {100 * one.low:+.2f} to {100 * one.high:+.2f} %"
        for one in study.quintiles
    ]
    yield Card(
        f"{study.tier}: mean return by quintile of the prediction",
        "Actual return at the horizon, in percent; from the lowest predictions to the highest",
        bars_chart(
            [str(group.number) for group in study.quintiles],
            [100 * group.mean for group in study.quintiles],
            quintiles,
            " %",
        ),
    )
    decay = [one.score for one in study.decay]
    yield Card(
        f"{study.tier}: by bars ahead",
        "Beyond the horizon the last step is held against it; two standard errors",
        _chart(decay),
    )
    for words, those in (("week", study.by_week), ("symbol", study.by_symbol), ("hour (UTC)", study.by_hour)):
        yield Card(f"{study.tier}: by {words}", "Rank correlation, with two standard errors", _chart(those))


def _chart(scores: Sequence[Score]) -> str:
    hover = [f"{one.ic:+.3f}, t {one.t:+.1f}, {one.rows:,} rows" for one in scores]
    errors = [2 * abs(one.ic / one.t) if one.t else math.nan for one in scores]
    return bars_chart([one.name for one in scores], [one.ic for one in scores], hover, errors=errors)


def _table(name: str, scores: Sequence[Score]) -> str:
    rows = (
        [
            one.name,
            f"{one.rows:,}",
            _number(one.ic, 4),
            _number(one.t, 2),
            _number(one.icir, 2),
            str(one.periods),
            "–" if math.isnan(one.hits) else f"{one.hits:.1%}",
        ]
        for one in scores
    )
    return table(name, HEADS, {0}, rows)


def _number(value: float, places: int) -> str:
    return "–" if math.isnan(value) else f"{value:+.{places}f}"
