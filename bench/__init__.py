"""Side-by-side benchmarks. A timing never decides a test; ratios of one run are what is recorded here."""
