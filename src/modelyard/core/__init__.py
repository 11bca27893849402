"""Small frozen values and pure functions that everything else may use. No I/O, no heavy imports."""
