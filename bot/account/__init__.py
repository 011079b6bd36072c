"""The account guards: they read what the account is worth and say when it may open nothing more."""
