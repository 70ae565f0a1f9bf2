"""What every part runs on: devices, precision, errors, files, the command line, how a run ends."""
