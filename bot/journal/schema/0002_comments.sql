-- What the columns hold that 0001 left without a word; docs/journal.md is made of these.

COMMENT ON COLUMN bot.signal_log.cat_trend IS 'Category of the market: trend. Null until a tier computes it.';
COMMENT ON COLUMN bot.signal_log.cat_momentum IS 'The same: momentum.';
COMMENT ON COLUMN bot.signal_log.cat_strength IS 'The same: strength.';
COMMENT ON COLUMN bot.signal_log.cat_volume IS 'The same: volume.';
COMMENT ON COLUMN bot.signal_log.cat_volatility IS 'The same: volatility.';
COMMENT ON COLUMN bot.signal_log.exit_reason IS 'Why the position ended; of a denied entry, why it was denied.';

COMMENT ON COLUMN bot.positions.variant IS 'Name of the variant.';
COMMENT ON COLUMN bot.positions.tier IS 'Tier plugin.';
COMMENT ON COLUMN bot.positions.symbol IS 'The venue''s symbol.';
COMMENT ON COLUMN bot.positions.side IS 'LONG or SHORT.';
COMMENT ON COLUMN bot.positions.entry_price IS 'Average price of the entry''s fills.';
COMMENT ON COLUMN bot.positions.exit_price IS 'Average price of the exits'' fills.';
COMMENT ON COLUMN bot.positions.stop_price IS 'Where its stop is to be at the venue.';
COMMENT ON COLUMN bot.positions.target_price IS 'Where its target is to be at the venue; null: it has none.';
COMMENT ON COLUMN bot.positions.created_at IS 'The desk took the signal.';
COMMENT ON COLUMN bot.positions.opened_at IS 'First fill.';
COMMENT ON COLUMN bot.positions.closed_at IS 'Nothing is open and nothing can fill any more.';
COMMENT ON COLUMN bot.positions.exit_reason IS 'Why it ended.';
COMMENT ON COLUMN bot.positions.fees IS 'Paid, all its fills; positive: paid.';
COMMENT ON COLUMN bot.positions.gross_pnl IS 'Exits'' fills against the average entry price, before fees and funding.';

COMMENT ON COLUMN bot.orders.position_id IS 'The position it belongs to.';
COMMENT ON COLUMN bot.orders.revision IS 'Counts the orders of one leg: each new price or quantity is a new order.';
COMMENT ON COLUMN bot.orders.symbol IS 'The venue''s symbol.';
COMMENT ON COLUMN bot.orders.kind IS 'LIMIT, MARKET, STOP_MARKET or TAKE_PROFIT_MARKET.';
COMMENT ON COLUMN bot.orders.buy IS 'True: buys.';
COMMENT ON COLUMN bot.orders.quantity IS 'In base.';
COMMENT ON COLUMN bot.orders.price IS 'Of LIMIT.';
COMMENT ON COLUMN bot.orders.reduce_only IS 'May only make the venue''s netted position smaller.';
COMMENT ON COLUMN bot.orders.post_only IS 'Refused by the venue rather than filled at once.';
COMMENT ON COLUMN bot.orders.filled IS 'Quantity executed, as far as known.';
COMMENT ON COLUMN bot.orders.created_at IS 'Committed.';
COMMENT ON COLUMN bot.orders.updated_at IS 'Last change of state or quantity.';

COMMENT ON COLUMN bot.fills.symbol IS 'The venue''s symbol.';
COMMENT ON COLUMN bot.fills.trade_id IS 'The venue''s, unique within the symbol.';
COMMENT ON COLUMN bot.fills.buy IS 'True: bought.';
COMMENT ON COLUMN bot.fills.price IS 'In quote.';
COMMENT ON COLUMN bot.fills.quantity IS 'In base.';
COMMENT ON COLUMN bot.fills.fee IS 'In fee_asset; positive: paid.';
COMMENT ON COLUMN bot.fills.fee_asset IS 'What the fee was paid in; only USDT counts in the ledger.';
COMMENT ON COLUMN bot.fills.maker IS 'True: it rested in the book.';
COMMENT ON COLUMN bot.fills.at IS 'The venue''s time.';
COMMENT ON COLUMN bot.fills.leg IS 'e entry, s stop, t target, x exit at market; null: none of ours.';

COMMENT ON COLUMN bot.funding.symbol IS 'The venue''s symbol.';
COMMENT ON COLUMN bot.funding.amount IS 'In USDT; negative: paid.';
COMMENT ON COLUMN bot.funding.at IS 'The venue''s time.';
COMMENT ON COLUMN bot.funding.income_id IS 'The venue''s.';

COMMENT ON COLUMN bot.account.key IS 'Name of the fact.';
COMMENT ON COLUMN bot.account.value IS 'Amounts of money are JSON strings.';

COMMENT ON COLUMN bot.bot_events.id IS 'In the order of writing.';
COMMENT ON COLUMN bot.bot_events.at IS 'Domain time: the simulator''s in a replay.';
COMMENT ON COLUMN bot.bot_events.name IS 'snake_case.';
COMMENT ON COLUMN bot.bot_events.severity IS 'info, warning or error.';
COMMENT ON COLUMN bot.bot_events.detail IS 'Without secrets.';

COMMENT ON COLUMN bot.daily_log.day IS 'UTC.';
COMMENT ON COLUMN bot.daily_log.signals IS 'Rows of signal_log.';
COMMENT ON COLUMN bot.daily_log.fees IS 'In USDT; positive: paid.';
COMMENT ON COLUMN bot.daily_log.funding IS 'In USDT; negative: paid.';

COMMENT ON COLUMN bot.migrations.number IS 'The file''s number.';
COMMENT ON COLUMN bot.migrations.name IS 'The file.';
COMMENT ON COLUMN bot.migrations.sha256 IS 'Of its text; a database made by other files is refused.';
COMMENT ON COLUMN bot.migrations.applied_at IS 'The server''s time.';
