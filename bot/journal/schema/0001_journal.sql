-- The journal: what was seen and decided, what was intended and executed, and what came of it.
-- Column order matters in signal_log, positions, orders, fills and funding: the code writes whole rows.

CREATE TABLE bot.signal_log (
    signal_id         text PRIMARY KEY,
    cycle_at          timestamptz NOT NULL,
    variant           text NOT NULL,
    tier              text NOT NULL,
    symbol            text NOT NULL,
    bar_close_at      timestamptz,
    checkpoint        text,
    mark_price        numeric CHECK (mark_price > 0 AND mark_price < 'Infinity'),
    predicted_return  double precision,
    predicted_q10     double precision,
    predicted_q90     double precision,
    threshold         double precision NOT NULL,
    side              text CHECK (side IN ('LONG', 'SHORT')),
    rsi               double precision,
    atr               double precision,
    cat_trend         double precision,
    cat_momentum      double precision,
    cat_strength      double precision,
    cat_volume        double precision,
    cat_volatility    double precision,
    filter_verdicts   jsonb NOT NULL CHECK (jsonb_typeof(filter_verdicts) = 'array'),
    decision          text NOT NULL CHECK (decision IN ('enter', 'refuse')),
    decision_reason   text NOT NULL,
    entry_method      text NOT NULL,
    entry_price       numeric CHECK (entry_price > 0 AND entry_price < 'Infinity'),
    quantity          numeric CHECK (quantity > 0 AND quantity < 'Infinity'),
    fill_status       text CHECK (fill_status IN ('pending', 'filled', 'partial', 'expired', 'rejected', 'denied')),
    fill_price        numeric CHECK (fill_price > 0 AND fill_price < 'Infinity'),
    exit_price        numeric CHECK (exit_price > 0 AND exit_price < 'Infinity'),
    exit_reason       text,
    net_pnl           numeric CHECK (net_pnl > '-Infinity' AND net_pnl < 'Infinity'),
    actual_return     double precision
);
CREATE INDEX signal_log_cycle ON bot.signal_log (cycle_at);
CREATE INDEX signal_log_unknown_return ON bot.signal_log (symbol, bar_close_at) WHERE actual_return IS NULL;

COMMENT ON TABLE bot.signal_log IS 'One row for every variant x symbol x cycle, acted on or not.';
COMMENT ON COLUMN bot.signal_log.signal_id IS 'Also the id of the position that came of it.';
COMMENT ON COLUMN bot.signal_log.cycle_at IS 'Domain time of the cycle.';
COMMENT ON COLUMN bot.signal_log.variant IS 'Name of the variant file''s [variant].';
COMMENT ON COLUMN bot.signal_log.tier IS 'Tier plugin.';
COMMENT ON COLUMN bot.signal_log.symbol IS 'The venue''s symbol.';
COMMENT ON COLUMN bot.signal_log.bar_close_at IS 'Close time of the last bar that the forecast saw.';
COMMENT ON COLUMN bot.signal_log.checkpoint IS 'Checkpoint that was really used.';
COMMENT ON COLUMN bot.signal_log.mark_price IS 'Mark price at the cycle, in quote.';
COMMENT ON COLUMN bot.signal_log.predicted_return IS 'Point forecast at the horizon / last close - 1.';
COMMENT ON COLUMN bot.signal_log.predicted_q10 IS 'The same of the 0.1 quantile.';
COMMENT ON COLUMN bot.signal_log.predicted_q90 IS 'The same of the 0.9 quantile.';
COMMENT ON COLUMN bot.signal_log.threshold IS 'Absolute predicted return that a signal had to reach.';
COMMENT ON COLUMN bot.signal_log.side IS 'LONG or SHORT; null where there was no forecast.';
COMMENT ON COLUMN bot.signal_log.rsi IS 'RSI(14) of the window.';
COMMENT ON COLUMN bot.signal_log.atr IS 'ATR(14) of the window, in quote.';
COMMENT ON COLUMN bot.signal_log.cat_trend IS 'Market category: trend.';
COMMENT ON COLUMN bot.signal_log.cat_momentum IS 'Market category: momentum.';
COMMENT ON COLUMN bot.signal_log.cat_strength IS 'Market category: strength.';
COMMENT ON COLUMN bot.signal_log.cat_volume IS 'Market category: volume.';
COMMENT ON COLUMN bot.signal_log.cat_volatility IS 'Market category: volatility.';
COMMENT ON COLUMN bot.signal_log.filter_verdicts IS 'Array of {filter, allow, reason, values} in the order asked.';
COMMENT ON COLUMN bot.signal_log.decision IS 'enter or refuse.';
COMMENT ON COLUMN bot.signal_log.decision_reason IS 'Why; where a plugin failed, its name.';
COMMENT ON COLUMN bot.signal_log.entry_method IS 'Entry plugin.';
COMMENT ON COLUMN bot.signal_log.entry_price IS 'Limit price; null for a market entry.';
COMMENT ON COLUMN bot.signal_log.quantity IS 'Quantity asked for, in base.';
COMMENT ON COLUMN bot.signal_log.fill_status IS 'pending, filled, partial, expired, rejected, denied; null where refused.';
COMMENT ON COLUMN bot.signal_log.fill_price IS 'Average price of the entry''s fills.';
COMMENT ON COLUMN bot.signal_log.exit_price IS 'Average price of the exit''s fills.';
COMMENT ON COLUMN bot.signal_log.exit_reason IS 'stop, target, trail, floor, max_hold, ...';
COMMENT ON COLUMN bot.signal_log.net_pnl IS 'Gross - fees + funding of the position, in quote.';
COMMENT ON COLUMN bot.signal_log.actual_return IS 'Close at the horizon / close at bar_close_at - 1, for refused signals too.';

CREATE TABLE bot.positions (
    position_id       text PRIMARY KEY,
    variant           text NOT NULL,
    tier              text NOT NULL,
    symbol            text NOT NULL,
    side              text NOT NULL CHECK (side IN ('LONG', 'SHORT')),
    status            text NOT NULL CHECK (status IN ('pending', 'open', 'closing', 'closed')),
    intended          numeric NOT NULL CHECK (intended > 0 AND intended < 'Infinity'),
    filled            numeric NOT NULL CHECK (filled >= 0 AND filled < 'Infinity'),
    closed            numeric NOT NULL CHECK (closed >= 0 AND closed < 'Infinity'),
    entry_price       numeric CHECK (entry_price > 0 AND entry_price < 'Infinity'),
    exit_price        numeric CHECK (exit_price > 0 AND exit_price < 'Infinity'),
    stop_price        numeric CHECK (stop_price > 0 AND stop_price < 'Infinity'),
    target_price      numeric CHECK (target_price > 0 AND target_price < 'Infinity'),
    stop_reason       text,
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    opened_at         timestamptz,
    closed_at         timestamptz,
    exit_reason       text,
    fees              numeric NOT NULL CHECK (fees > '-Infinity' AND fees < 'Infinity'),
    funding           numeric NOT NULL CHECK (funding > '-Infinity' AND funding < 'Infinity'),
    gross_pnl         numeric NOT NULL CHECK (gross_pnl > '-Infinity' AND gross_pnl < 'Infinity'),
    exits             jsonb NOT NULL,
    net_pnl           numeric NOT NULL CHECK (net_pnl = gross_pnl - fees + funding)
);
CREATE INDEX positions_open ON bot.positions (symbol) WHERE status <> 'closed';
CREATE INDEX positions_closed ON bot.positions (closed_at) WHERE status = 'closed';

COMMENT ON TABLE bot.positions IS 'One independent entry each, with its own quantity, stop and target.';
COMMENT ON COLUMN bot.positions.position_id IS 'The signal''s id.';
COMMENT ON COLUMN bot.positions.status IS 'pending: nothing filled; open; closing: a market exit is on its way; closed.';
COMMENT ON COLUMN bot.positions.intended IS 'Quantity asked for, in base.';
COMMENT ON COLUMN bot.positions.filled IS 'Quantity of the entry''s fills.';
COMMENT ON COLUMN bot.positions.closed IS 'Quantity of the exits'' fills.';
COMMENT ON COLUMN bot.positions.stop_reason IS 'Why the stop was last moved; null: never moved.';
COMMENT ON COLUMN bot.positions.expires_at IS 'The entry''s time to live ends.';
COMMENT ON COLUMN bot.positions.funding IS 'Negative: paid.';
COMMENT ON COLUMN bot.positions.exits IS 'The exit plan; percentages of the average entry price.';
COMMENT ON COLUMN bot.positions.net_pnl IS 'gross_pnl - fees + funding.';

CREATE TABLE bot.orders (
    client_id         text PRIMARY KEY CHECK (client_id ~ '^[.A-Z:/a-z0-9_-]{1,36}$'),
    position_id       text NOT NULL,
    leg               text NOT NULL CHECK (leg IN ('e', 's', 't', 'x')),
    revision          integer NOT NULL CHECK (revision >= 0),
    symbol            text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('LIMIT', 'MARKET', 'STOP_MARKET', 'TAKE_PROFIT_MARKET')),
    buy               boolean NOT NULL,
    quantity          numeric NOT NULL CHECK (quantity > 0 AND quantity < 'Infinity'),
    price             numeric CHECK (price > 0 AND price < 'Infinity'),
    trigger_price     numeric CHECK (trigger_price > 0 AND trigger_price < 'Infinity'),
    reduce_only       boolean NOT NULL,
    post_only         boolean NOT NULL,
    state             text NOT NULL CHECK (state IN ('intended', 'unresolved', 'working', 'triggered', 'filled',
                                                     'canceled', 'rejected', 'expired')),
    filled            numeric NOT NULL CHECK (filled >= 0 AND filled <= quantity),
    venue_id          bigint,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    reason            text NOT NULL,
    UNIQUE (position_id, leg, revision)
);
CREATE INDEX orders_live ON bot.orders (symbol) WHERE state IN ('intended', 'unresolved', 'working', 'triggered');
CREATE INDEX orders_created ON bot.orders (created_at);

COMMENT ON TABLE bot.orders IS 'The intent: a row is committed before its order is sent.';
COMMENT ON COLUMN bot.orders.client_id IS 'Deterministic: signal, leg, revision.';
COMMENT ON COLUMN bot.orders.leg IS 'e entry, s stop, t target, x exit at market.';
COMMENT ON COLUMN bot.orders.trigger_price IS 'Of STOP_MARKET and TAKE_PROFIT_MARKET.';
COMMENT ON COLUMN bot.orders.state IS 'intended: committed, not sent; unresolved: sent, no answer that counts; ...';
COMMENT ON COLUMN bot.orders.venue_id IS 'The venue''s order id.';
COMMENT ON COLUMN bot.orders.reason IS 'The venue''s or our own word for the last change.';

CREATE TABLE bot.fills (
    symbol            text NOT NULL,
    trade_id          bigint NOT NULL,
    venue_id          bigint NOT NULL,
    client_id         text NOT NULL,
    buy               boolean NOT NULL,
    price             numeric NOT NULL CHECK (price > 0 AND price < 'Infinity'),
    quantity          numeric NOT NULL CHECK (quantity > 0 AND quantity < 'Infinity'),
    fee               numeric NOT NULL CHECK (fee > '-Infinity' AND fee < 'Infinity'),
    fee_asset         text NOT NULL,
    realized_pnl      numeric NOT NULL CHECK (realized_pnl > '-Infinity' AND realized_pnl < 'Infinity'),
    maker             boolean NOT NULL,
    at                timestamptz NOT NULL,
    position_id       text,
    leg               text CHECK (leg IN ('e', 's', 't', 'x')),
    PRIMARY KEY (symbol, trade_id)
);
CREATE INDEX fills_at ON bot.fills (at);
CREATE INDEX fills_position ON bot.fills (position_id);

COMMENT ON TABLE bot.fills IS 'Every execution once.';
COMMENT ON COLUMN bot.fills.venue_id IS 'The regular order''s id at the venue.';
COMMENT ON COLUMN bot.fills.client_id IS 'Empty where the venue''s answer had none.';
COMMENT ON COLUMN bot.fills.realized_pnl IS 'The venue''s, of its netted position.';
COMMENT ON COLUMN bot.fills.position_id IS 'The position it was booked to; null: none of ours.';

CREATE TABLE bot.funding (
    symbol            text NOT NULL,
    amount            numeric NOT NULL CHECK (amount > '-Infinity' AND amount < 'Infinity'),
    at                timestamptz NOT NULL,
    income_id         bigint NOT NULL,
    PRIMARY KEY (income_id)
);
CREATE INDEX funding_at ON bot.funding (at);

COMMENT ON TABLE bot.funding IS 'Every funding payment once; negative: paid.';

CREATE TABLE bot.account (
    key               text PRIMARY KEY,
    value             jsonb NOT NULL
);

COMMENT ON TABLE bot.account IS 'Single facts: starting_wallet, trading_state, restarts, ...';

CREATE TABLE bot.bot_events (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                timestamptz NOT NULL,
    name              text NOT NULL,
    severity          text NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    detail            jsonb NOT NULL
);
CREATE INDEX bot_events_at ON bot.bot_events (at);

COMMENT ON TABLE bot.bot_events IS 'What an operator may want to know; each is also a log line.';

CREATE TABLE bot.daily_log (
    day               date PRIMARY KEY,
    signals           integer NOT NULL,
    entries           integer NOT NULL,
    exits             integer NOT NULL,
    fees              numeric NOT NULL,
    funding           numeric NOT NULL,
    net_pnl           numeric NOT NULL,
    wallet            numeric NOT NULL,
    drawdown          double precision NOT NULL
);

COMMENT ON TABLE bot.daily_log IS 'One row for every UTC day, written when the day is over and at shutdown.';
COMMENT ON COLUMN bot.daily_log.entries IS 'Positions whose first fill was on that day.';
COMMENT ON COLUMN bot.daily_log.exits IS 'Positions closed on that day.';
COMMENT ON COLUMN bot.daily_log.net_pnl IS 'Realized - fees + funding booked on that day.';
COMMENT ON COLUMN bot.daily_log.wallet IS 'At the end of the day, by our own ledger.';
COMMENT ON COLUMN bot.daily_log.drawdown IS 'Largest fall on that day from the highest wallet so far, as a fraction of it.';
