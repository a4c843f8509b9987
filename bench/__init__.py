"""Speed and memory of bigmodel beside its peers: `python -m bench` prints one table."""
