-- What would have come of a refused signal stands in the columns of what came of an entered one, marked by fill_status.

ALTER TABLE bot.signal_log DROP CONSTRAINT signal_log_fill_status_check;
ALTER TABLE bot.signal_log ADD CONSTRAINT signal_log_fill_status_check CHECK (fill_status IN (
    'pending', 'filled', 'partial', 'expired', 'rejected', 'denied', 'cf_filled', 'cf_expired', 'cf_rejected'));
ALTER TABLE bot.signal_log ADD CONSTRAINT signal_log_counterfactual_refused
    CHECK (fill_status IS NULL OR starts_with(fill_status, 'cf_') = (decision = 'refuse'));
CREATE INDEX signal_log_to_follow ON bot.signal_log (cycle_at)
    WHERE decision = 'refuse' AND quantity IS NOT NULL AND fill_status IS NULL;

COMMENT ON COLUMN bot.signal_log.checkpoint IS 'Checkpoint that really forecast; without a forecast the one that serves the tier.';
COMMENT ON COLUMN bot.signal_log.cat_trend IS 'Category of the market: trend, -1 ... 1.';
COMMENT ON COLUMN bot.signal_log.filter_verdicts IS 'Array of {filter, allow, reason, values, shadow, scale}: filters and checks, in the order asked.';
COMMENT ON COLUMN bot.signal_log.entry_price IS 'Limit price; null for a market entry. Of a refused signal, what would have been asked.';
COMMENT ON COLUMN bot.signal_log.quantity IS 'Quantity asked for, in base. Of a refused signal, what would have been asked.';
COMMENT ON COLUMN bot.signal_log.fill_status IS 'pending, filled, partial, expired, rejected, denied; of a refused signal null, later cf_filled, cf_expired or cf_rejected: what would have come of it.';
COMMENT ON COLUMN bot.signal_log.fill_price IS 'Average price of the entry''s fills; cf_: on the recorded bars.';
COMMENT ON COLUMN bot.signal_log.exit_price IS 'Average price of the exit''s fills; cf_: on the recorded bars.';
COMMENT ON COLUMN bot.signal_log.exit_reason IS 'Why the position ended, or would have; of a denied entry, why it was denied.';
COMMENT ON COLUMN bot.signal_log.net_pnl IS 'Gross - fees + funding of the position, in quote; cf_: of the one that was not opened.';
