"""Real servers on loopback and a clock that jumps: for the demo, for tests, for your own tests."""
