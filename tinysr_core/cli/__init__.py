"""The command line `tinysr`: its commands, and what it prints."""
