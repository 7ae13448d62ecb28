"""Independent tasks, done in this process, by processes of their own, or on a cluster, with the same results."""
