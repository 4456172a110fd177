"""Checks: each finds one thing that fails silently, and says what it means and what to do."""
