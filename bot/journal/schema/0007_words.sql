-- What a person asks of the bot that runs, or of the next one: to trade less, to trade again, to close everything.

CREATE TABLE bot.words (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    word              text NOT NULL CHECK (word IN ('reduce', 'halt', 'activate', 'flatten')),
    reason            text NOT NULL,
    by                text NOT NULL,
    asked_at          timestamptz NOT NULL DEFAULT now(),
    taken_at          timestamptz
);
CREATE INDEX words_waiting ON bot.words (id) WHERE taken_at IS NULL;

COMMENT ON TABLE bot.words IS 'One row for every `state reduce|halt|activate` and `flatten`; the bot takes it within seconds.';
COMMENT ON COLUMN bot.words.id IS 'In the order of the commands.';
COMMENT ON COLUMN bot.words.word IS 'reduce, halt, activate or flatten.';
COMMENT ON COLUMN bot.words.reason IS 'Why, in the person''s words; may be empty.';
COMMENT ON COLUMN bot.words.by IS 'The account at the operating system that ran the command.';
COMMENT ON COLUMN bot.words.asked_at IS 'Real time of the command.';
COMMENT ON COLUMN bot.words.taken_at IS 'Real time at which the bot had acted on it; null: not yet.';
