"""The jobs behind the commands: loops and files, no formulas."""
