"""`probprec doctor` looks at a cluster: what it has, what lacks, what to do about it; `cli` and `init` enter."""
