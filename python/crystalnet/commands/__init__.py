"""What each command does: files in, files out, an exit code. The options are read in `cli/`."""
