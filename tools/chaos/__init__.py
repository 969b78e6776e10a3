"""Kills parts of a running `grayscale up` at random, and looks whether anything was lost."""
