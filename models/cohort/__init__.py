"""Many scans: a batch that several processes share, and what is told of all of its lesions together."""
