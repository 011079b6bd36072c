-- What a person asks of the account guards. Their memory is the fact `guards` of bot.account.

CREATE TABLE bot.guard_releases (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    guard             text NOT NULL,
    asked_at          timestamptz NOT NULL DEFAULT now(),
    taken_at          timestamptz
);
CREATE INDEX guard_releases_waiting ON bot.guard_releases (id) WHERE taken_at IS NULL;

COMMENT ON TABLE bot.guard_releases IS 'One row for every `guards release NAME`; the bot takes it within a minute.';
COMMENT ON COLUMN bot.guard_releases.id IS 'In the order of the commands.';
COMMENT ON COLUMN bot.guard_releases.guard IS 'Name of the guard.';
COMMENT ON COLUMN bot.guard_releases.asked_at IS 'Real time of the command.';
COMMENT ON COLUMN bot.guard_releases.taken_at IS 'Real time at which the bot acted on it; null: not yet.';
