"""Reports and measurements on what was traded."""
