"""The pages and pictures of the benchmarks' results."""
