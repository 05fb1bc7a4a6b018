"""All effects: the network, clocks, tasks, files."""
