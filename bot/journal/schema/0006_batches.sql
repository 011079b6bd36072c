-- Which batch of the journal's rows was written last: after an outage the same batch may be offered a second time.

CREATE TABLE bot.journal_batches (
    single            boolean PRIMARY KEY DEFAULT true CHECK (single),
    number            bigint NOT NULL
);

COMMENT ON TABLE bot.journal_batches IS 'One row: how far signals, outcomes and events have been written.';
COMMENT ON COLUMN bot.journal_batches.single IS 'Always true, so that there is one row.';
COMMENT ON COLUMN bot.journal_batches.number IS 'Number of the last batch; a batch with a number up to it is there already.';
