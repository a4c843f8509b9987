"""One module a workload: `WORKLOAD`, and a function for each peer that takes a `Run` and returns figures."""
