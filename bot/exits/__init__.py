"""The guard: moves stops and ends positions by the rules of bot.strategy.exits."""
