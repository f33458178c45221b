"""What knows nothing of learning: options, errors, files, locks, plug-ins, devices. It imports nothing else of stkd."""
