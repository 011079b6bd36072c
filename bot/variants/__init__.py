"""The variants' actor: runs each cycle at its minute."""
