"""What an operator sees while the bot runs."""
