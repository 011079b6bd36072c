-- How long each position stood without the cover that it should have had.

ALTER TABLE bot.positions ADD COLUMN naked_seconds numeric NOT NULL DEFAULT 0
    CHECK (naked_seconds >= 0 AND naked_seconds < 'Infinity');

COMMENT ON COLUMN bot.positions.naked_seconds IS 'Seconds with more open quantity than confirmed live stops at the venue.';
COMMENT ON COLUMN bot.positions.stop_price IS 'Where its stop is to be at the venue; of a resting entry, where a fill at its limit puts it.';
